// LoadBook: what the gateways tell of their load, joined: per upstream the sums of each second, for
// the autoscaler; sums and histograms of a span of seconds, for the analysis of a rollout.
//
// What a gateway tells of a second counts once, however often it comes. A gateway that has said
// "ended" or was silent for kSilence is not waited for, and its requests under way no longer count;
// what it told of seconds that are over stays. Seconds are Unix time; memory is bounded: single
// seconds are kept for kKeptSeconds, and sums of kSlot seconds for kKept. Any thread.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plan/load_report.h"

namespace sluice::platform {

// One upstream in one second, all gateways together.
struct LoadSecond {
  int64_t second = 0;
  double concurrency = 0;  // time-average of requests under way, held ones among them
  int64_t arrived = 0;
  int64_t in_flight = 0;  // at its end
  int64_t held = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  plan::LogHistogram ttft;                          // ms
  std::vector<plan::WaitingRequest> waiting_first;  // at most kMaxWaiting
};

// One upstream over a span of time.
struct LoadSpan {
  int64_t arrived = 0;
  int64_t answered = 0;
  int64_t failed = 0;
  int64_t refused = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  plan::LogHistogram ttft;         // ms
  plan::LogHistogram latency;      // ms
  plan::LogHistogram stream_rate;  // tokens/s of one stream

  int64_t ended() const { return answered + failed + refused; }
};

// One upstream now: the last second that each gateway told.
struct LoadNow {
  int64_t in_flight = 0;
  int64_t held = 0;
};

class LoadBook {
 public:
  static constexpr int64_t kSilence = 5;  // seconds
  static constexpr int64_t kLate = 60;    // a second that is told later is left out
  static constexpr int64_t kKeptSeconds = 300;
  static constexpr int64_t kSlot = 10;
  static constexpr int64_t kKept = 3600;
  static constexpr size_t kMaxGateways = 64;
  static constexpr size_t kMaxUpstreams = 8192;
  static constexpr size_t kMaxWaiting = 256;  // of one second

  LoadBook();
  ~LoadBook();
  LoadBook(const LoadBook&) = delete;
  LoadBook& operator=(const LoadBook&) = delete;

  // `now`: Unix time. Gives the upstreams that requests wait for: of a wake, or held in the second.
  std::vector<std::string> take(const plan::LoadReport& report, double now);

  // The seconds of [from, to) that are known whole: told by every gateway that is alive, or over
  // for kSilence. One that nobody told is left out, and so are those before the upstream's first.
  // Asked later, a second may have grown: a gateway was late.
  std::vector<LoadSecond> seconds(std::string_view upstream, int64_t from, int64_t to,
                                  double now) const;

  // Of [from, to); where single seconds are no longer kept, of the slots that begin in it.
  LoadSpan span(std::string_view upstream, int64_t from, int64_t to) const;
  LoadNow at(std::string_view upstream, double now) const;

  int gateways(double now) const;  // that are alive
  // What those that are alive and take requests say is in force, each once.
  std::set<std::string> plans(double now) const;

  // Forgets upstreams that are none of these.
  void keep_only(const std::set<std::string, std::less<>>& upstreams);

 private:
  struct Told;
  struct Gateway;
  struct Upstream;

  Gateway* gateway_of(const std::string& id, double now);
  void add(Upstream& upstream, uint64_t gateway, int64_t second, const plan::UpstreamLoad& load);
  void forget_old(double now);
  bool is_whole(int64_t second, double now) const;

  mutable std::mutex mutex_;
  std::map<std::string, Gateway, std::less<>> gateways_;
  std::map<std::string, Upstream, std::less<>> upstreams_;
  uint64_t next_gateway_ = 1;
  int64_t swept_ = 0;  // second of the last forget_old()
};

}  // namespace sluice::platform
