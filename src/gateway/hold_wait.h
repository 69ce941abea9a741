// HoldWait: one request's wait for an upstream that has nobody to answer it, on an event loop: for
// a bounded time, among a bounded number, in the order of priority and fair share. Whoever waits
// for an event stream gets comments meanwhile. It is woken when a replica comes, or a place is
// free.
#pragma once

#include <functional>
#include <memory>
#include <optional>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/held_responder.h"
#include "gateway/place_waiter.h"
#include "gateway/upstream.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// A place at an upstream that holds requests, where there is one now.
std::optional<Admission::Permit> place_at(Upstream& upstream, TimePoint now);

// On the loop's thread.
class HoldWait : public std::enable_shared_from_this<HoldWait> {
 public:
  // Called once on the loop's thread, maybe before begin() returns. kUnavailable when nobody came
  // in time ("hold_timeout"), or too many wait already ("hold_full").
  using Done = std::function<void(Result<Admission::Permit> place, Duration waited)>;

  // `company` may be null. The upstream holds requests.
  static std::shared_ptr<HoldWait> begin(net::EventLoop& loop, const Clock& clock,
                                         const Upstream& upstream, const Admission::Asker& asker,
                                         std::shared_ptr<HeldResponder> company, Duration max_wait,
                                         Done done);
  // Use begin().
  HoldWait(net::EventLoop& loop, std::shared_ptr<HeldResponder> company, Duration comment_every,
           Done done);

  // Nobody wants it any more. False when it was told already, or is about to be.
  bool withdraw();

 private:
  void on_comment_time();
  void tell(Result<Admission::Permit> place, Duration waited);

  const std::shared_ptr<HeldResponder> company_;
  const Duration comment_every_;
  Done done_;
  std::shared_ptr<HoldWait> self_;  // until it has told
  std::shared_ptr<PlaceWaiter> waiter_;
  net::EventLoop::Timer comments_;
};

}  // namespace sluice::gateway
