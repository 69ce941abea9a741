// What replicas tell of themselves on their pages of metrics: tokens that wait, KV memory in use.
//
// parse_signals() reads foreign bytes: any page gives an answer, of what it names. Fuzz target:
// replica_signals_fuzz.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace sluice::platform {

struct ReplicaSignals {
  int64_t queued_tokens = 0;  // of prompts that it has not begun to read, by their usual length
  int64_t kv_used_tokens = 0;
  int64_t kv_capacity_tokens = 0;  // 0: it does not say
  bool operator==(const ReplicaSignals&) const = default;
};

// Prometheus' text with vLLM's names, which `sluice serve` has too. All models of the server
// together. Nothing where none of the names is there.
std::optional<ReplicaSignals> parse_signals(std::string_view page);

struct SignalTarget {
  std::string url;  // http://host:port
  std::string ns;
  std::string revision;  // whose key opens the page
};

// Any thread; no call waits.
class SignalSource {
 public:
  virtual ~SignalSource() = default;
  // The last that the replica told, when it is not too old. Who was asked about is asked again and
  // again for a while; the first answer is nothing.
  virtual std::optional<ReplicaSignals> latest(const SignalTarget& target) = 0;
};

}  // namespace sluice::platform
