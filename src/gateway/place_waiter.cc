#include "gateway/place_waiter.h"

#include <string>
#include <utility>

namespace sluice::gateway {

Admission::Asker asker_of(const Caller& caller) {
  Admission::Asker asker{.tenant = std::string(caller.tenant_name())};
  if (caller.tenant != nullptr) {
    asker.priority = caller.tenant->priority;
    asker.weight = caller.tenant->weight;
  }
  return asker;
}

std::shared_ptr<PlaceWaiter> PlaceWaiter::ask(net::EventLoop& loop, const Clock& clock,
                                              Route& route, const Caller& caller, Done done) {
  Queue queue{.admission = route.memory()->admission,
              .max_wait = route.settings().queue.max_wait,
              .too_late = {Code::kResourceExhausted,
                           "waited too long for a place; try again later",
                           {},
                           "queue_timeout"}};
  return ask(loop, clock, std::move(queue), asker_of(caller), std::move(done));
}

std::shared_ptr<PlaceWaiter> PlaceWaiter::ask(net::EventLoop& loop, const Clock& clock, Queue queue,
                                              const Admission::Asker& asker, Done done) {
  auto waiter = std::make_shared<PlaceWaiter>(loop, clock, std::move(queue), std::move(done));
  waiter->begin(asker);
  return waiter;
}

PlaceWaiter::PlaceWaiter(net::EventLoop& loop, const Clock& clock, Queue queue, Done done)
    : loop_(loop),
      clock_(clock),
      queue_(std::move(queue)),
      asked_at_(clock.now()),
      done_(std::move(done)),
      timer_(loop, [this] { on_wait_over(); }) {}

void PlaceWaiter::begin(const Admission::Asker& asker) {
  self_ = shared_from_this();
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
  const auto ticket = queue_.admission->ask(asker, std::move(granted));
  asking_ = false;
  if (!ticket) return tell(std::unexpected(ticket.error()));
  if (*ticket == 0) return;
  ticket_ = *ticket;
  timer_.set(asked_at_ + queue_.max_wait);
}

bool PlaceWaiter::withdraw() {
  const uint64_t ticket = std::exchange(ticket_, 0);
  if (ticket == 0 || !queue_.admission->withdraw(ticket)) return false;
  timer_.disarm();
  done_ = nullptr;
  self_.reset();
  return true;
}

void PlaceWaiter::on_wait_over() {
  if (ticket_ == 0 || !queue_.admission->withdraw(ticket_)) return;
  loop_.post([kept = self_] {});  // it must not end inside its own timer
  tell(std::unexpected(queue_.too_late));
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
