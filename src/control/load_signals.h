// Loads other than concurrency and requests a second, as samples for Kpa: how much a service has to
// do, measured in replicas. 1 is what one replica has when it is just at its target; the load of a
// service is the sum over its replicas and what waits, so that it stays the same when replicas are
// added, which is what the rule expects of a load. Kpa then runs with `target` = 1 × utilization,
// `capacity` = 1 and a `burst_target` of 0 or -1. docs/autoscaling.md, "Other signals".
//
// Pure functions; one call for each second. Any thread. `in_flight`: requests that wait or are
// being answered. Targets are above 0. Results are finite, from 0 to LoadWindow::kMaxSample; inputs
// below 0 or not finite count as 0.
#pragma once

#include <chrono>
#include <cstdint>
#include <span>

namespace sluice::control {

// The least load of a service with a request in flight: one replica stays, however little waits.
inline constexpr double kLeastBusyLoad = 0.01;

// One request without a first token for long must not ask for more than this many times the
// replicas.
inline constexpr double kMaxLateness = 10;

// Prompt tokens that no replica has begun to read, waiting room and replicas' queues together, over
// what one replica may have waiting.
double queued_token_load(int64_t queued_tokens, double target_tokens, int64_t in_flight);

struct KvUse {
  int64_t used_tokens = 0;  // held by running requests; cached prefixes nobody uses are not load
  int64_t capacity_tokens = 0;
};

// The shares of their KV memory that the replicas use, and what requests without a place will need
// in shares of an average replica, over the share that is aimed at (`target_share` in (0, 1]). A
// replica without a capacity is left out; with none left, only kLeastBusyLoad speaks for what
// waits.
double kv_load(std::span<const KvUse> replicas, int64_t waiting_tokens, double target_share,
               int64_t in_flight);

struct FirstToken {
  std::chrono::nanoseconds waited{};  // until its first token; for a request that waits: so far
  int ready_then = 0;                 // ready replicas when it came; 0 counts as 1
};

// How late first tokens come, times the replicas that made them so late. `seen` holds the requests
// whose first token came in this second and those that still wait. Time to first token is not a sum
// over replicas; with `ready_then` it acts as one: a request that came to one replica and waited
// three targets tells of three replicas' work, however many have been added since.
double first_token_load(std::span<const FirstToken> seen, std::chrono::nanoseconds target,
                        int64_t in_flight);

}  // namespace sluice::control
