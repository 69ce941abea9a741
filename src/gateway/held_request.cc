#include "gateway/held_request.h"

#include <utility>

namespace sluice::gateway {

void HeldRequest::begin(RelayHost& host, net::EventLoop& loop, RelayRequest request, Ways ways) {
  const TimePoint now = host.clock.now();
  Upstream& upstream = *request.branch->upstream_ptr();
  const auto settings = upstream.settings();
  request.hold_until = now + settings->hold.value_or(plan::HoldPlan{}).max_wait;
  request.visit = LoadVisit(upstream.load(), request.record.began, now);
  if (auto place = place_at(upstream, now)) {
    request.hold = *std::move(place);
    return ways.next(std::move(request));
  }
  std::make_shared<HeldRequest>(host, loop, std::move(request), std::move(ways))->wait();
}

HeldRequest::HeldRequest(RelayHost& host, net::EventLoop& loop, RelayRequest request, Ways ways)
    : host_(host), loop_(loop), request_(std::move(request)), ways_(std::move(ways)) {}

void HeldRequest::wait() {
  self_ = shared_from_this();
  const TimePoint now = host_.clock.now();
  const Upstream& upstream = request_.branch->upstream();
  request_.visit.hold(now);
  host_.held(upstream.name());
  request_.responder->on_close([weak = weak_from_this(), &loop = loop_] {
    loop.post([weak] {
      if (const auto alive = weak.lock()) alive->on_client_gone();
    });
  });
  wait_ =
      HoldWait::begin(loop_, host_.clock, upstream, asker_of(request_.caller), request_.company,
                      request_.hold_until - now,
                      [weak = weak_from_this()](Result<Admission::Permit> place, Duration waited) {
                        if (const auto alive = weak.lock())
                          alive->on_place(std::move(place), waited);
                      });
}

void HeldRequest::on_place(Result<Admission::Permit> place, Duration waited) {
  const auto kept = std::exchange(self_, nullptr);
  if (!kept) return;
  const TimePoint now = host_.clock.now();
  request_.visit.release(now);
  request_.record.waited += waited;
  if (request_.branch->upstream().retired()) {
    request_.visit.end(LoadOutcome::kLeft, std::nullopt, now);
    request_.branch = nullptr;
    return ways_.again(std::move(request_));
  }
  if (place) {
    request_.hold = *std::move(place);
    return ways_.next(std::move(request_));
  }
  // Somebody else may answer.
  if (place.error().reason() == "hold_timeout" && !request_.route->settings().fallbacks.empty()) {
    return ways_.next(std::move(request_));
  }
  ways_.refuse(request_, place.error());
}

void HeldRequest::on_client_gone() {
  if (!self_ || !wait_ || !wait_->withdraw()) return;
  const auto kept = std::exchange(self_, nullptr);
  const TimePoint now = host_.clock.now();
  request_.record.waited += now - request_.record.began;
  request_.record.ending = Ending::kClientGone;
  if (request_.grant) request_.grant->settle({}, request_.branch->upstream().name());
  request_.visit.end(LoadOutcome::kLeft, std::nullopt, now);
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
