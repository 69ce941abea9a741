#include "engine/request_mix.h"

#include <algorithm>

namespace sluice::engine {
namespace {

constexpr int kRemembered = 32;
// The first to end are the shortest; so many say something about the others.
constexpr int kWellKnown = 8;

}  // namespace

void RequestMix::Mean::add(int more_prompt_rows, int more_tokens) {
  seen = std::min(seen + 1, kRemembered);
  prompt_rows += (more_prompt_rows - prompt_rows) / seen;
  tokens += (more_tokens - tokens) / seen;
}

double RequestMix::prompt_rows_per_token() const {
  const Mean& mean = answered_.seen < kWellKnown ? asked_ : answered_;
  return mean.tokens > 0.0 ? mean.prompt_rows / mean.tokens : 0.0;
}

}  // namespace sluice::engine
