#include "gateway/text_prefix.h"

#include <cstring>
#include <string>

namespace sluice::gateway {

std::vector<PrefixHash> text_prefix(std::string_view text, int block_tokens,
                                    std::string_view tenant, std::string_view model) {
  text = text.substr(0, kMaxPrefixBytes);
  std::string salt(tenant);
  salt.append("\n").append(model);
  PrefixHash hash = prefix_salt(salt);
  std::vector<int32_t> block(static_cast<size_t>(block_tokens));
  const size_t bytes = block.size() * sizeof(int32_t);
  std::vector<PrefixHash> chain;
  chain.reserve(text.size() / bytes);
  while (text.size() >= bytes) {
    std::memcpy(block.data(), text.data(), bytes);
    text.remove_prefix(bytes);
    hash = extend_prefix(hash, block);
    chain.push_back(hash);
  }
  return chain;
}

}  // namespace sluice::gateway
