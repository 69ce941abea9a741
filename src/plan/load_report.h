// LoadReport: what a gateway tells the control plane of its load: once a second for every upstream,
// and at once when a request begins to wait for an upstream that has nobody, or another plan comes
// into force.
//
// JSON over POST /internal/v1/load, in four forms:
//   {"gateway": ID, "second": S, "upstreams": [{"name": …, "concurrency": …, …}]}
//   {"gateway": ID, "wake": ["UPSTREAM", …]}
//   {"gateway": ID, "plan_id": "PLAN"}      which plan is in force; "": it takes no new requests
//   {"gateway": ID, "ended": true}          the last one of a gateway process that drains
// A number that is 0 and a list or histogram that is empty are left out. One second may come in
// several reports, each with other upstreams. Foreign input: parse_load_report() has limits and
// takes no field that it does not know. Fuzz target: load_report_fuzz. Values: any thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::plan {

// Counts by logarithmic buckets: bucket i holds what is in [2^(i/4), 2^((i+1)/4)), so that a value
// is known within 19 %. Values outside of the range count in its first or last bucket.
class LogHistogram {
 public:
  static constexpr int kFirst = -40;  // from 2^-10
  static constexpr int kLast = 127;   // to 2^32

  static int bucket_of(double value);  // of NaN and what is not positive: kFirst
  static double lower_bound(int bucket);

  void add(double value, uint64_t count = 1) { add_bucket(bucket_of(value), count); }
  // `bucket` within the range. A count that would overflow stays at the largest.
  void add_bucket(int bucket, uint64_t count);
  void merge(const LogHistogram& other);
  void clear();

  uint64_t count() const { return count_; }
  bool empty() const { return count_ == 0; }
  // The value at q in [0, 1], geometrically within its bucket. Nothing when empty.
  std::optional<double> quantile(double q) const;
  const std::map<int, uint64_t>& buckets() const { return buckets_; }  // none of them is 0
  bool operator==(const LogHistogram&) const = default;

 private:
  std::map<int, uint64_t> buckets_;
  uint64_t count_ = 0;
};

// A request without its first token: how long it has waited, and how many replicas could be chosen
// at the end of the second.
struct WaitingRequest {
  int64_t waited_ms = 0;
  int64_t usable = 0;
  bool operator==(const WaitingRequest&) const = default;
};

// One upstream over one second. Requests under way count from their choice of the upstream, held
// ones from the time that they begin to wait for it.
struct UpstreamLoad {
  std::string name = {};
  double concurrency = 0;         // time-average of requests under way, held ones among them
  int64_t in_flight = 0;          // at the end of the second, held ones among them
  int64_t held = 0;               // of these
  int64_t arrived = 0;            // requests begun
  int64_t usable = 0;             // replicas that could be chosen at the end of the second
  int64_t answered = 0;           // ended, with whatever the model or the client's mistake gave
  int64_t failed = 0;             // 5xx, cut, timed out, hung, not reached
  int64_t refused = 0;            // 429 or 503 of the server
  LogHistogram ttft = {};         // ms to the first byte or token, from the request's beginning
  LogHistogram latency = {};      // ms to the end of answers that did not fail
  LogHistogram stream_rate = {};  // tokens/s of one stream
  int64_t prompt_tokens = 0;      // where the answer tells
  int64_t completion_tokens = 0;
  std::vector<WaitingRequest> waiting_first = {};  // those that have waited longest
  bool operator==(const UpstreamLoad&) const = default;
};

struct LoadReport {
  std::string gateway = {};                  // the process, by an id that it drew at its start
  std::optional<int64_t> second = {};        // it covers [second, second + 1) of Unix time
  std::vector<UpstreamLoad> upstreams = {};  // with `second` only; names differ
  std::vector<std::string> wake = {};        // upstreams that are waited for
  std::optional<std::string> plan_id = {};   // empty text: none, it drains
  bool ended = false;
  bool operator==(const LoadReport&) const = default;
};

inline constexpr size_t kMaxLoadReportBytes = 1u << 20;
inline constexpr size_t kMaxLoadUpstreams = 8192;  // of one report
inline constexpr size_t kMaxLoadWakes = 8192;
inline constexpr size_t kMaxLoadNameBytes = 256;
inline constexpr size_t kMaxWaitingFirst = 64;
inline constexpr int64_t kMaxLoadCount = 1'000'000'000'000'000;

// What a report can name: 1 to kMaxLoadNameBytes visible characters of ASCII.
bool is_load_name(std::string_view text);

std::string to_json(const LoadReport& report);
// Whole or not at all; the message says what was expected and where.
Result<LoadReport> parse_load_report(std::string_view text);
// Reports that hold the same and of which none passes kMaxLoadReportBytes. `report` has a second.
std::vector<std::string> to_json_parts(const LoadReport& report);

}  // namespace sluice::plan
