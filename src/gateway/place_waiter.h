// PlaceWaiter: one request's wait for its place among those of its route, on an event loop.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

#include "base/clock.h"
#include "gateway/admission.h"
#include "gateway/snapshot.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// On the loop's thread. Keeps itself alive until it has told or was withdrawn.
class PlaceWaiter : public std::enable_shared_from_this<PlaceWaiter> {
 public:
  // The place, or why there is none, after how long in the queue. Called once on the loop's thread,
  // maybe before ask() returns.
  using Done = std::function<void(Result<Admission::Permit> place, Duration waited)>;

  // For as long as the route's max_wait.
  static std::shared_ptr<PlaceWaiter> ask(net::EventLoop& loop, const Clock& clock, Route& route,
                                          const Caller& caller, Done done);
  // Use ask().
  PlaceWaiter(net::EventLoop& loop, const Clock& clock, Route& route, Done done);

  // Nobody wants the place any more. False when it was given already, or is about to be.
  bool withdraw();

 private:
  void begin(const Caller& caller, Duration max_wait);
  void on_wait_over();
  void tell(Result<Admission::Permit> place);

  net::EventLoop& loop_;
  const Clock& clock_;
  const std::shared_ptr<Admission> admission_;
  const TimePoint asked_at_;
  Done done_;
  std::shared_ptr<PlaceWaiter> self_;
  uint64_t ticket_ = 0;
  bool asking_ = false;
  net::EventLoop::Timer timer_;
};

}  // namespace sluice::gateway
