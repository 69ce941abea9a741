// LoadReporter: tells the control plane what the upstreams have to do (plan/load_report.h): each
// second, and at once when a request begins to wait for an upstream that has nobody; and which plan
// is in force.
//
// On a loop and a thread of its own: no request waits for it, whatever the control plane does.
// While that is away the last seconds are kept for it.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "gateway/snapshot.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "plan/load_report.h"

namespace sluice::gateway {

class LoadReporter {
 public:
  static constexpr size_t kKept = 5;  // seconds that were not told

  using CurrentSnapshot = std::function<std::shared_ptr<const Snapshot>()>;

  // `each_second` is called on the reporter's thread, whether or not there is somebody to be told.
  LoadReporter(CurrentSnapshot snapshot, const Clock& clock, std::function<void()> each_second);
  ~LoadReporter();

  // Once.
  void begin();
  // A last report says that this gateway has ended. Without effect behind the first call, and where
  // nothing began.
  void end();

  // Another plan is in force. Any thread.
  void plan_taken();
  // No new requests come from now on, whatever the plan. Any thread.
  void leave();

  // Any thread; takes a microsecond. Wakes of an upstream that come on each other's heels are one.
  void wake(const std::string& upstream);

  const std::string& id() const { return id_; }

 private:
  using Told = std::function<void(bool good)>;

  void tick();
  void collect(const Snapshot& snapshot);
  void send_next();
  void send_wakes();
  void send_plan();
  void post(std::string body, Duration patience, Told told);
  void warn(const std::string& why);

  const CurrentSnapshot snapshot_;
  const Clock& clock_;
  const std::function<void()> each_second_;
  const std::string id_;
  std::shared_ptr<net::EventLoop> loop_;  // null: it could not be made
  std::unique_ptr<net::HttpClient> client_;
  std::jthread thread_;
  std::atomic<bool> begun_ = false;
  std::atomic<bool> leaving_ = false;

  // The loop's.
  std::unique_ptr<net::EventLoop::Timer> timer_;
  std::deque<std::pair<int64_t, std::vector<std::string>>> unsent_;  // by second, its parts
  bool sending_ = false;
  bool waking_ = false;
  bool telling_plan_ = false;
  std::string told_plan_;     // of the last report of it that was taken
  size_t plan_told_ago_ = 0;  // ticks
  bool over_ = false;
  std::string warned_;

  std::mutex mutex_;  // guards what follows
  std::set<std::string> wakes_;
  std::map<std::string, TimePoint> woken_;  // lately
};

}  // namespace sluice::gateway
