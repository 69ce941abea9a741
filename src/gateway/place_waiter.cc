#include "gateway/place_waiter.h"

#include <string>
#include <utility>

namespace sluice::gateway {

std::shared_ptr<PlaceWaiter> PlaceWaiter::ask(net::EventLoop& loop, const Clock& clock,
                                              Route& route, const Caller& caller, Done done) {
  auto waiter = std::make_shared<PlaceWaiter>(loop, clock, route, std::move(done));
  waiter->begin(caller, route.settings().queue.max_wait);
  return waiter;
}

PlaceWaiter::PlaceWaiter(net::EventLoop& loop, const Clock& clock, Route& route, Done done)
    : loop_(loop),
      clock_(clock),
      admission_(route.memory()->admission),
      asked_at_(clock.now()),
      done_(std::move(done)),
      timer_(loop, [this] { on_wait_over(); }) {}

void PlaceWaiter::begin(const Caller& caller, Duration max_wait) {
  self_ = shared_from_this();
  Admission::Asker asker{.tenant = std::string(caller.tenant_name())};
  if (caller.tenant != nullptr) {
    asker.priority = caller.tenant->priority;
    asker.weight = caller.tenant->weight;
  }
  // Granted inside ask(), or later on the thread of whoever leaves: that may serve another loop,
  // and those who enter one after another must not stand on each other's stack.
  auto granted = [weak = weak_from_this(), loop = &loop_](Admission::Permit permit) {
    auto kept = std::make_shared<Admission::Permit>(std::move(permit));
    const auto enter = [weak, kept] {
      if (const auto alive = weak.lock()) alive->tell(std::move(*kept));
    };
    const auto self = loop->on_thread() ? weak.lock() : nullptr;
    self && self->asking_ ? enter() : loop->post(enter);
  };
  asking_ = true;
  const auto ticket = admission_->ask(asker, std::move(granted));
  asking_ = false;
  if (!ticket) return tell(std::unexpected(ticket.error()));
  if (*ticket == 0) return;
  ticket_ = *ticket;
  timer_.set(asked_at_ + max_wait);
}

bool PlaceWaiter::withdraw() {
  const uint64_t ticket = std::exchange(ticket_, 0);
  if (ticket == 0 || !admission_->withdraw(ticket)) return false;
  timer_.disarm();
  done_ = nullptr;
  self_.reset();
  return true;
}

void PlaceWaiter::on_wait_over() {
  if (ticket_ == 0 || !admission_->withdraw(ticket_)) return;
  loop_.post([kept = self_] {});  // it must not end inside its own timer
  tell(fail(Code::kResourceExhausted, "waited too long for a place; try again later", {},
            "queue_timeout"));
}

void PlaceWaiter::tell(Result<Admission::Permit> place) {
  if (!done_) return;
  const bool queued = std::exchange(ticket_, 0) != 0;
  timer_.disarm();
  const Done done = std::exchange(done_, nullptr);
  const auto kept = std::exchange(self_, nullptr);
  done(std::move(place), queued ? clock_.now() - asked_at_ : Duration::zero());
}

}  // namespace sluice::gateway
