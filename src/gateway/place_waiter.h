// PlaceWaiter: one request's wait for its place on an event loop: among those of its route, or at
// an upstream that has nobody to answer.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/admission.h"
#include "gateway/snapshot.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// Whose place it is, by priority and fair share.
Admission::Asker asker_of(const Caller& caller);

// On the loop's thread. Keeps itself alive until it has told or was withdrawn.
class PlaceWaiter : public std::enable_shared_from_this<PlaceWaiter> {
 public:
  // The place, or why there is none, after how long in the queue. Called once on the loop's thread,
  // maybe before ask() returns.
  using Done = std::function<void(Result<Admission::Permit> place, Duration waited)>;

  struct Queue {
    std::shared_ptr<Admission> admission;
    Duration max_wait{};
    Status too_late;  // what is told when that is over
  };

  // For as long as the route's max_wait.
  static std::shared_ptr<PlaceWaiter> ask(net::EventLoop& loop, const Clock& clock, Route& route,
                                          const Caller& caller, Done done);
  static std::shared_ptr<PlaceWaiter> ask(net::EventLoop& loop, const Clock& clock, Queue queue,
                                          const Admission::Asker& asker, Done done);
  // Use ask().
  PlaceWaiter(net::EventLoop& loop, const Clock& clock, Queue queue, Done done);

  bool waits() const { return ticket_ != 0; }
  // Nobody wants the place any more. False when it was given already, or is about to be.
  bool withdraw();

 private:
  void begin(const Admission::Asker& asker);
  void on_wait_over();
  void tell(Result<Admission::Permit> place);

  net::EventLoop& loop_;
  const Clock& clock_;
  const Queue queue_;
  const TimePoint asked_at_;
  Done done_;
  std::shared_ptr<PlaceWaiter> self_;
  uint64_t ticket_ = 0;
  bool asking_ = false;
  net::EventLoop::Timer timer_;
};

}  // namespace sluice::gateway
