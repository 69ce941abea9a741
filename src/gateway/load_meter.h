// LoadMeter: what one upstream had to do, in whole seconds of Unix time, for the control plane.
// LoadVisit: one request at it, from the choice of the upstream to the request's end.
//
// The average of requests under way is exact: what happens is counted in the second that it
// happened in, however late the meter is read. Any thread; a lock that is held for tens of
// nanoseconds, three times a request.
#pragma once

#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "gateway/record.h"
#include "plan/load_report.h"

namespace sluice::gateway {

// How a request ended, as the analysis of a rollout sees it.
enum class LoadOutcome {
  kAnswered,
  kFailed,   // 5xx, cut, out of time, hung, not reached
  kRefused,  // 429 or 503 of the server
  kLeft,     // the client left, or it went elsewhere: counted as none of these
};

LoadOutcome load_outcome(const RequestRecord& record);

class LoadMeter {
 public:
  static constexpr size_t kKept = 6;  // seconds that nobody has taken

  struct Second {
    int64_t second = 0;            // Unix
    plan::UpstreamLoad load = {};  // without name and usable
  };

  // `unix_offset`: Unix time is now + unix_offset.
  explicit LoadMeter(Duration unix_offset = unix_offset_of(system_clock()));
  static Duration unix_offset_of(const Clock& clock);

  // The seconds that are over and were not taken yet. The offset holds from now on: the wall clock
  // may have been set, or the machine may have slept.
  std::vector<Second> take(TimePoint now, Duration unix_offset);

  // Replicas that could be chosen when last looked; what a request that comes now is told to have
  // met.
  void set_usable(int usable);
  int usable() const;

 private:
  friend class LoadVisit;
  struct Waiting {
    TimePoint began;
    int usable = 0;
  };
  using WaitingAt = std::list<Waiting>::iterator;

  void advance(TimePoint now);
  void close(TimePoint boundary, int64_t next_second);
  void add_waited(plan::UpstreamLoad& load, const Waiting& who, TimePoint now) const;

  mutable std::mutex mutex_;  // guards what follows
  Duration unix_offset_;
  int64_t second_ = 0;  // 0: nothing has happened yet
  TimePoint began_{};   // of this second: it is longer than others when the wall clock is set back
  TimePoint looked_{};
  double area_ = 0;  // requests × seconds, in this second
  int64_t in_flight_ = 0;
  int64_t held_ = 0;
  int usable_ = 0;
  plan::UpstreamLoad load_;
  std::list<Waiting> waiting_;  // without a first token, in the order that they came
  std::deque<Second> closed_;
};

// Move-only; one owner at a time. Destroyed before end(): ended as kLeft.
class LoadVisit {
 public:
  LoadVisit() = default;
  // `began`: the request, which may have waited elsewhere before.
  LoadVisit(std::shared_ptr<LoadMeter> meter, TimePoint began, TimePoint now);
  LoadVisit(LoadVisit&& other) noexcept;
  LoadVisit& operator=(LoadVisit&& other) noexcept;
  ~LoadVisit() { leave(); }

  explicit operator bool() const { return meter_ != nullptr; }
  bool of(const LoadMeter* meter) const { return meter_.get() == meter; }

  // Waits for a replica; goes on.
  void hold(TimePoint now);
  void release(TimePoint now);
  void first_token(TimePoint now);
  // It says nothing of its first token: its answer comes whole.
  void tells_no_first_token(TimePoint now);
  void end(LoadOutcome outcome, const std::optional<TokenCounts>& usage, TimePoint now);
  // To another upstream, or not at all.
  void leave();

 private:
  void forget_wait();  // the meter's lock held

  std::shared_ptr<LoadMeter> meter_;
  TimePoint began_{};
  std::optional<TimePoint> first_token_;
  std::optional<LoadMeter::WaitingAt> waiting_;
  bool held_ = false;
};

}  // namespace sluice::gateway
