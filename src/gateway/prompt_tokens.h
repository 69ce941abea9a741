// Prompts that were tokenized on the way, so that a balancer knows their blocks, or a limit their
// length: the ids travel on, and nobody tokenizes them again.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "completion/request.h"

namespace sluice::gateway {

struct TokenizedPrompts {
  std::string upstream;
  std::string model;        // as the replica that tokenized was asked for it
  std::string fingerprint;  // its numerics id; one with another id is sent the text
  std::vector<std::optional<std::vector<int32_t>>> tokens;  // by prompt
};

// The prompt's ids as the request has them, or as they were found; empty: not known.
std::span<const int32_t> known_tokens(const completion::Request& request,
                                      const TokenizedPrompts* found, size_t prompt);

// What the runtime computes of a prompt: the last ones, where it is to be cut.
std::span<const int32_t> computed_tokens(const completion::Request& request,
                                         std::span<const int32_t> tokens);

// The ids in place of the texts.
void put_tokens(const TokenizedPrompts& found, completion::Request& request);

}  // namespace sluice::gateway
