// The hash chain of a prompt's text, for servers whose tokenizer is not known here.
//
// Blocks of four bytes for each token that a block of the runtime has. Equal beginnings of the
// JSON text give equal chains; the salt keeps tenants and models apart.
#pragma once

#include <string_view>
#include <vector>

#include "base/prefix_hash.h"

namespace sluice::gateway {

inline constexpr size_t kMaxPrefixBytes = 64u << 10;  // what lies behind is not looked at

std::vector<PrefixHash> text_prefix(std::string_view text, int block_tokens,
                                    std::string_view tenant, std::string_view model);

}  // namespace sluice::gateway
