#include "gateway/hold_wait.h"

#include <utility>

namespace sluice::gateway {

std::optional<Admission::Permit> place_at(Upstream& upstream, TimePoint now) {
  upstream.look_at_places(now);
  const auto hold = upstream.hold();
  return hold ? hold->try_enter() : std::nullopt;
}

std::shared_ptr<HoldWait> HoldWait::begin(net::EventLoop& loop, const Clock& clock,
                                          const Upstream& upstream, const Admission::Asker& asker,
                                          std::shared_ptr<HeldResponder> company, Duration max_wait,
                                          Done done) {
  const auto settings = upstream.settings();
  const plan::HoldPlan hold = settings->hold.value_or(plan::HoldPlan{});
  auto wait =
      std::make_shared<HoldWait>(loop, std::move(company), hold.comment_every, std::move(done));
  wait->self_ = wait;
  PlaceWaiter::Queue queue{
      .admission = upstream.hold(),
      .max_wait = max_wait,
      .too_late = {Code::kUnavailable,
                   "no server for this request came up in time; try again later",
                   {},
                   "hold_timeout"}};
  if (!queue.admission) {
    wait->tell(fail(Code::kUnavailable, "no server for this request is there", {}, "no_replica"),
               {});
    return wait;
  }
  wait->waiter_ = PlaceWaiter::ask(
      loop, clock, std::move(queue), asker,
      [weak = wait->weak_from_this()](Result<Admission::Permit> place, Duration waited) {
        if (const auto alive = weak.lock()) alive->tell(std::move(place), waited);
      });
  if (wait->self_) wait->on_comment_time();
  return wait;
}

HoldWait::HoldWait(net::EventLoop& loop, std::shared_ptr<HeldResponder> company,
                   Duration comment_every, Done done)
    : company_(std::move(company)),
      comment_every_(comment_every),
      done_(std::move(done)),
      comments_(loop, [this] {
        company_->comment();
        on_comment_time();
      }) {}

void HoldWait::on_comment_time() {
  if (!company_ || comment_every_ == Duration::zero()) return;
  comments_.set(net::EventLoop::now() + comment_every_);
}

bool HoldWait::withdraw() {
  if (!waiter_ || !waiter_->withdraw()) return false;
  comments_.disarm();
  done_ = nullptr;
  self_.reset();
  return true;
}

void HoldWait::tell(Result<Admission::Permit> place, Duration waited) {
  comments_.disarm();
  const auto kept = std::exchange(self_, nullptr);
  const Done done = std::exchange(done_, nullptr);
  if (!done) return;
  if (!place && place.error().code() == Code::kResourceExhausted) {
    place = fail(Code::kUnavailable, "too many requests wait for a server; try again later", {},
                 "hold_full");
  }
  done(std::move(place), waited);
}

}  // namespace sluice::gateway
