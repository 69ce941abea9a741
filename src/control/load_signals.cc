#include "control/load_signals.h"

#include <algorithm>

#include "control/load_window.h"

namespace sluice::control {
namespace {

double as_load(double load, int64_t in_flight) {
  // So written that NaN, which an empty quotient gives, is no load.
  const double finite = load > 0 ? std::min(load, LoadWindow::kMaxSample) : 0;
  return in_flight > 0 ? std::max(finite, kLeastBusyLoad) : finite;
}

double positive(int64_t count) { return static_cast<double>(std::max<int64_t>(0, count)); }

}  // namespace

double queued_token_load(int64_t queued_tokens, double target_tokens, int64_t in_flight) {
  return as_load(positive(queued_tokens) / target_tokens, in_flight);
}

double kv_load(std::span<const KvUse> replicas, int64_t waiting_tokens, double target_share,
               int64_t in_flight) {
  double shares = 0;
  double capacity = 0;
  double counted = 0;
  for (const KvUse& replica : replicas) {
    if (replica.capacity_tokens <= 0) continue;
    shares += positive(replica.used_tokens) / positive(replica.capacity_tokens);
    capacity += positive(replica.capacity_tokens);
    ++counted;
  }
  if (counted > 0) shares += positive(waiting_tokens) / (capacity / counted);
  return as_load(shares / target_share, in_flight);
}

double first_token_load(std::span<const FirstToken> seen, std::chrono::nanoseconds target,
                        int64_t in_flight) {
  double sum = 0;
  for (const FirstToken& token : seen) {
    const double lateness = positive(token.waited.count()) / positive(target.count());
    sum += std::min(lateness, kMaxLateness) * std::max(1, token.ready_then);
  }
  return as_load(sum / static_cast<double>(seen.size()), in_flight);
}

}  // namespace sluice::control
