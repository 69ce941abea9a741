// Pages of metrics, as a replica of any kind may serve them.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "platform/replica_signals.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view page(reinterpret_cast<const char*>(data), size);
  const auto signals = sluice::platform::parse_signals(page);
  if (!signals) return 0;
  if (signals->queued_tokens < 0 || signals->kv_used_tokens < 0) std::abort();
  if (signals->kv_used_tokens > signals->kv_capacity_tokens) std::abort();
  return 0;
}
