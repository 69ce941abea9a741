#include "net/event_loop.h"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

namespace sluice::net {

namespace {

constexpr size_t kScratchBytes = 64u << 10;
constexpr int kEventsPerRound = 128;

thread_local EventLoop* current_loop = nullptr;

}  // namespace

void EventLoop::Timer::set(TimePoint when) {
  when_ = when;
  if (when >= queued_) return;
  disarm();
  when_ = queued_ = when;
  loop_.timers_.emplace(when, this);
}

void EventLoop::Timer::disarm() {
  if (queued_ != TimePoint::max()) loop_.timers_.erase({queued_, this});
  queued_ = when_ = TimePoint::max();
}

// Taken from the queue already.
void EventLoop::Timer::expire(TimePoint now) {
  queued_ = TimePoint::max();
  if (when_ > now) {
    if (when_ != TimePoint::max()) set(when_);
    return;
  }
  when_ = TimePoint::max();
  action_();
}

Result<std::shared_ptr<EventLoop>> EventLoop::create() {
  Fd epoll(::epoll_create1(EPOLL_CLOEXEC));
  if (!epoll.valid()) return fail(Code::kUnavailable, errno_text("epoll_create1", errno));
  Fd wake(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.valid()) return fail(Code::kUnavailable, errno_text("eventfd", errno));
  std::shared_ptr<EventLoop> loop(new EventLoop(std::move(epoll), std::move(wake)));
  SLUICE_RETURN_IF_ERROR(loop->watch(loop->wake_.get(), EPOLLIN, nullptr));
  return loop;
}

EventLoop::EventLoop(Fd epoll, Fd wake)
    : epoll_(std::move(epoll)), wake_(std::move(wake)), scratch_(kScratchBytes) {}

Outcome EventLoop::watch(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{.events = events, .data = {.ptr = watcher}};
  if (::epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) != 0) {
    return fail(Code::kUnavailable, errno_text("epoll_ctl", errno));
  }
  return {};
}

void EventLoop::rewatch(int fd, uint32_t events, Watcher* watcher) {
  epoll_event event{.events = events, .data = {.ptr = watcher}};
  ::epoll_ctl(epoll_.get(), EPOLL_CTL_MOD, fd, &event);
}

void EventLoop::unwatch(int fd) { ::epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr); }

void EventLoop::post(Task task) {
  bool ring = false;
  {
    const std::lock_guard lock(mutex_);
    if (ended_) return;
    tasks_.push_back(std::move(task));
    ring = std::exchange(asleep_, false);
  }
  if (ring) {
    const uint64_t one = 1;
    // The counter can only overflow while a ring is pending, which is all that is wanted.
    static_cast<void>(!::write(wake_.get(), &one, sizeof(one)));
  }
}

void EventLoop::stop() {
  post([this] { running_ = false; });
}

void EventLoop::run_tasks() {
  std::vector<Task> tasks;
  {
    const std::lock_guard lock(mutex_);
    asleep_ = false;
    tasks.swap(tasks_);
  }
  for (Task& task : tasks) task();
}

int EventLoop::wait_milliseconds() const {
  if (timers_.empty()) return -1;
  const Duration left = timers_.begin()->first - now();
  const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(left).count();
  return static_cast<int>(std::clamp<int64_t>(rounded, 0, 60'000));
}

void EventLoop::run_timers() {
  const TimePoint at = now();
  while (!timers_.empty() && timers_.begin()->first <= at) {
    Timer* timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    timer->expire(at);
  }
}

EventLoop* EventLoop::current() { return current_loop; }

void EventLoop::run() {
  thread_ = std::this_thread::get_id();
  current_loop = this;
  std::array<epoll_event, kEventsPerRound> events;
  while (running_) {
    int timeout = wait_milliseconds();
    {
      const std::lock_guard lock(mutex_);
      if (tasks_.empty()) {
        asleep_ = true;
      } else {
        timeout = 0;
      }
    }
    const int count = ::epoll_wait(epoll_.get(), events.data(), kEventsPerRound, timeout);
    for (int i = 0; i < count; ++i) {
      if (events[i].data.ptr != nullptr) {
        static_cast<Watcher*>(events[i].data.ptr)->on_events(events[i].events);
      } else {
        uint64_t rings = 0;
        static_cast<void>(!::read(wake_.get(), &rings, sizeof(rings)));
      }
    }
    run_tasks();
    run_timers();
    std::exchange(retired_, {}).clear();
  }
  std::vector<Task> dropped;
  {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    dropped.swap(tasks_);
  }
  current_loop = nullptr;
}

}  // namespace sluice::net
