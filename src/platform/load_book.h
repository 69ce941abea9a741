// LoadBook: what the gateways tell of their load, joined: per upstream the sums of each second, for
// the autoscaler; sums and histograms of a span of seconds, for the analysis of a rollout.
//
// A report for a second that was told already takes the place of the first. A gateway that has said
// "ended", or was silent for kSilence, is not waited for; what it told of seconds that are over
// stays. Seconds are Unix time and kept for kKept; gateways and upstreams are bounded. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "plan/load_report.h"

namespace sluice::platform {

// One upstream in one second, all gateways together.
struct LoadSecond {
  int64_t second = 0;
  double concurrency = 0;
  int64_t arrived = 0;
  int64_t in_flight = 0;
  int64_t held = 0;
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;
  std::vector<plan::WaitingRequest> waiting_first;
  plan::LogHistogram ttft;
};

// One upstream over a span of time.
struct LoadSpan {
  int64_t arrived = 0;
  int64_t answered = 0;
  int64_t failed = 0;
  int64_t refused = 0;
  plan::LogHistogram ttft;         // ms
  plan::LogHistogram latency;      // ms
  plan::LogHistogram stream_rate;  // tokens/s of one stream
  int64_t prompt_tokens = 0;
  int64_t completion_tokens = 0;

  int64_t ended() const { return answered + failed + refused; }
};

// One upstream now: the last second that each gateway told.
struct LoadNow {
  int64_t in_flight = 0;
  int64_t held = 0;
  int gateways = 0;  // that told of it
};

class LoadBook {
 public:
  static constexpr int64_t kSilence = 5;       // seconds
  static constexpr int64_t kKept = 3600 + 60;  // seconds of sums
  static constexpr int64_t kKeptWhole = 900;   // seconds of histograms and waiting requests
  static constexpr size_t kMaxGateways = 64;
  static constexpr size_t kMaxUpstreams = 8192;

  // `now`: Unix time. A second that is not over, or is too old, is left out. Gives the upstreams
  // that are waited for (of a wake, or held in the second).
  std::vector<std::string> take(const plan::LoadReport& report, double now);

  // The seconds of [from, to) that are known whole: told by every gateway that is alive, or older
  // than kSilence. A second that nobody told is left out. A sample may come again, larger, when a
  // gateway was late.
  std::vector<LoadSecond> seconds(std::string_view upstream, int64_t from, int64_t to,
                                  double now) const;

  LoadSpan span(std::string_view upstream, int64_t from, int64_t to) const;
  LoadNow at(std::string_view upstream, double now) const;

  // Gateways that are heard.
  int gateways(double now) const;
  // Forgets upstreams that are none of these.
  void keep_only(const std::set<std::string, std::less<>>& upstreams);

 private:
  struct Told {  // by one gateway of one second
    plan::UpstreamLoad load;
  };
  struct Gateway {
    double heard = 0;
    int64_t newest = INT64_MIN;  // second
    bool ended = false;
  };
  using ByGateway = std::map<uint32_t, plan::UpstreamLoad>;
  struct Upstream {
    std::map<int64_t, ByGateway> seconds;
  };

  mutable std::mutex mutex_;
};

}  // namespace sluice::platform
