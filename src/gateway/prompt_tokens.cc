#include "gateway/prompt_tokens.h"

#include <algorithm>
#include <variant>

namespace sluice::gateway {

using completion::Request;
using completion::TokenPrompt;

std::span<const int32_t> known_tokens(const Request& request, const TokenizedPrompts* found,
                                      size_t prompt) {
  if (prompt >= request.prompts.size()) return {};
  if (const auto* given = std::get_if<TokenPrompt>(&request.prompts[prompt])) return given->tokens;
  if (found == nullptr || prompt >= found->tokens.size() || !found->tokens[prompt]) return {};
  return *found->tokens[prompt];
}

std::span<const int32_t> computed_tokens(const Request& request, std::span<const int32_t> tokens) {
  if (!request.truncate_prompt_tokens) return tokens;
  const auto most = static_cast<size_t>(std::max(0, *request.truncate_prompt_tokens));
  return tokens.last(std::min(most, tokens.size()));
}

void put_tokens(const TokenizedPrompts& found, Request& request) {
  for (size_t i = 0; i < std::min(found.tokens.size(), request.prompts.size()); ++i) {
    if (found.tokens[i]) request.prompts[i] = TokenPrompt{*found.tokens[i]};
  }
}

}  // namespace sluice::gateway
