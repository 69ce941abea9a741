// One thread waiting on many sockets (epoll), timers and work posted from elsewhere.
//
// run() is called by one thread, "the loop's thread"; all else but post(), stop() and on_thread()
// belongs to that thread, or to the owner before run() began or after it returned. Readiness is
// level-triggered: a watcher that leaves bytes unread is told again.
#pragma once

#include <sys/epoll.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/status.h"
#include "net/socket.h"

namespace sluice::net {

class EventLoop {
 public:
  using Task = std::move_only_function<void()>;

  // Told of EPOLLIN, EPOLLOUT, … on the descriptor it watches.
  class Watcher {
   public:
    virtual void on_events(uint32_t events) = 0;

   protected:
    ~Watcher() = default;
  };

  // A deadline that may be moved at will: moving it later costs nothing, because the loop looks
  // at it again only when the earlier one has come.
  class Timer {
   public:
    Timer(EventLoop& loop, std::function<void()> action)
        : loop_(loop), action_(std::move(action)) {}
    ~Timer() { disarm(); }
    Timer(const Timer&) = delete;
    Timer& operator=(const Timer&) = delete;

    void set(TimePoint when);
    void clear() { when_ = TimePoint::max(); }
    // Also leaves the loop's queue, after which the timer may be destroyed on any thread.
    void disarm();

   private:
    friend class EventLoop;
    void expire(TimePoint now);

    EventLoop& loop_;
    std::function<void()> action_;
    TimePoint when_ = TimePoint::max();
    TimePoint queued_ = TimePoint::max();
  };

  static Result<std::shared_ptr<EventLoop>> create();

  // Until stop(). Work posted before the stop is done; work posted behind it is dropped.
  void run();
  void stop();
  void post(Task task);
  bool on_thread() const { return thread_.load() == std::this_thread::get_id(); }

  // The loop whose thread this is; null on any other thread.
  static EventLoop* current();

  // The descriptor must stay open until unwatch().
  Outcome watch(int fd, uint32_t events, Watcher* watcher);
  void rewatch(int fd, uint32_t events, Watcher* watcher);
  void unwatch(int fd);

  // Keeps an object that may still be named by events of this round until the round is over.
  void retire(std::shared_ptr<void> object) { retired_.push_back(std::move(object)); }

  // Space to read into, valid until the callback returns.
  std::span<char> scratch() { return scratch_; }

  static TimePoint now() { return system_clock().now(); }

 private:
  EventLoop(Fd epoll, Fd wake);
  void run_tasks();
  int wait_milliseconds() const;
  void run_timers();

  Fd epoll_;
  Fd wake_;
  std::atomic<std::thread::id> thread_;
  std::set<std::pair<TimePoint, Timer*>> timers_;
  std::vector<std::shared_ptr<void>> retired_;
  std::vector<char> scratch_;
  bool running_ = true;

  std::mutex mutex_;  // guards what follows
  std::vector<Task> tasks_;
  bool asleep_ = false;  // a post must ring
  bool ended_ = false;
};

}  // namespace sluice::net
