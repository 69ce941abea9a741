// Mirror: copies of requests to another upstream, whose answers nobody gets but which are compared
// with those that clients got.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "gateway/gateway_metrics.h"
#include "gateway/onward_call.h"
#include "gateway/route.h"
#include "net/client.h"
#include "plan/plan.h"

namespace sluice::gateway {

// A hash of the text in an answer: of the string values of "content" and "text", in their order,
// whatever else the JSON holds and however a stream cuts them. One owner.
class AnswerDigest {
 public:
  void feed(std::string_view bytes);
  uint64_t value() const { return hash_; }

 private:
  enum class State { kOutside, kString, kAfterString, kBeforeValue, kValue };
  static constexpr uint64_t kOffset = 0xCBF29CE484222325u;  // FNV-1a, 64 bits
  static constexpr uint64_t kPrime = 0x100000001B3u;

  State state_ = State::kOutside;
  bool escaped_ = false;
  std::string word_;
  uint64_t hash_ = kOffset;
};

// Both sides of one mirrored request; told of by both, on one loop's thread. Counts when both are
// over: "same", "different_status", "different_text".
class MirrorComparison {
 public:
  MirrorComparison(GatewayMetrics& metrics, std::string route)
      : metrics_(metrics), route_(std::move(route)) {}

  struct Side {
    std::optional<int> status;  // once it is over
    AnswerDigest digest;
  };
  Side primary;
  Side copy;

  // To be called when a side has got its status.
  void compare();

 private:
  GatewayMetrics& metrics_;
  const std::string route_;
};

// Sends `request` (whole, addressed by the caller) to a replica of `target`, if the route's mirror
// has room. On the client's loop.
void send_copy(GatewayMetrics& metrics, const Route& route, Target& target, ReplicaLease lease,
               net::HttpClient& client, OnwardCall call,
               const std::shared_ptr<MirrorComparison>& comparison);

}  // namespace sluice::gateway
