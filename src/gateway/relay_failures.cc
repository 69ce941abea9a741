// The second half of Relay: what is done about failures, time, and clients that leave.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/rng.h"
#include "endpoint/error_shape.h"
#include "gateway/errors.h"
#include "gateway/forward.h"
#include "gateway/relay.h"

namespace sluice::gateway {

using plan::ErrorClass;

namespace {

constexpr Duration kPlacePause = std::chrono::milliseconds(5);
constexpr int64_t kEventsWithoutTokens = 2;  // of a stream: the end, and the usage or the role

}  // namespace

// --- What to do about failures ------------------------------------------------------------------

void Relay::failed(const AttemptPtr& attempt, Failure failure, UseResult result) {
  host_.metrics.attempt(attempt->target->upstream().name(), plan::error_class_name(failure.error));
  request_.record.upstream = attempt->target->upstream().name();
  request_.record.replica = attempt->lease->replica().name;
  attempt->lease->report(result);
  attempt->reported = true;
  attempt->error = plan::error_class_name(failure.error);
  drop(attempt);
  failure_ = std::move(failure);
  // A hedge under way may still win.
  if (attempts_.empty()) decide();
}

bool Relay::may_retry(Duration& wait) {
  const plan::Retry& retry = settings().retry;
  if (target_ == nullptr || tries_ == 0 || tries_ > retry.attempts) return false;
  if (!retry.on.has(failure_->error)) return false;
  wait = Duration::zero();
  if (failure_->error != ErrorClass::kConnect) {
    thread_local Rng jitter(random_seed());
    Duration backoff = retry.backoff;
    for (int i = 1; i < tries_ && backoff < retry.max_backoff; ++i) backoff *= 2;
    backoff = std::min(backoff, retry.max_backoff);
    wait = Duration(static_cast<Duration::rep>(static_cast<double>(backoff.count()) *
                                               (0.8 + 0.4 * jitter.uniform())));
  }
  if (!target_->usable()) {
    const Duration closed = target_->unusable_for();
    if (closed <= Duration::zero() || closed > retry.max_retry_after) return false;
    wait = std::max(wait, closed);
  }
  return request_.route->retries().take(now());
}

// One whose upstream holds requests waits for another server, as long as it may.
bool Relay::waits_for_server() {
  if (target_ == nullptr || target_ != request_.branch || !target_->holds()) return false;
  if (now() >= request_.hold_until || !settings().retry.on.has(failure_->error)) return false;
  if (target_->usable()) return false;
  request_.hold = {};
  request_.visit.hold(now());
  host_.held(target_->upstream().name());
  const auto place = [weak = weak_from_this()](Result<Admission::Permit> got, Duration waited) {
    if (const auto alive = weak.lock()) alive->on_server(std::move(got), waited);
  };
  target_->upstream_ptr()->look_at_places(now());
  hold_wait_ = HoldWait::begin(loop_, host_.clock, target_->upstream(), asker_of(request_.caller),
                               request_.company, request_.hold_until - now(), place);
  return true;
}

void Relay::on_server(Result<Admission::Permit> place, Duration waited) {
  if (over_) return;
  request_.visit.release(now());
  request_.record.waited += waited;
  if (!place) {
    request_.hold_until = {};
    return decide();
  }
  request_.hold = *std::move(place);
  excluded_.clear();
  // Places are told by health: one that is refused there all the same does not come back at once.
  const TimePoint again = last_place_ + kPlacePause;
  last_place_ = std::max(now(), again);
  wait_.set(last_place_);
}

void Relay::visit_branch() {
  if (request_.visit.of(target_->upstream().load().get())) return;
  request_.visit.end(LoadOutcome::kFailed, std::nullopt, now());
  request_.visit = LoadVisit(target_->upstream().load(), request_.record.began, now());
}

bool Relay::next_fallback() {
  const auto& fallbacks = settings().fallbacks;
  while (next_fallback_ < fallbacks.size()) {
    const size_t i = next_fallback_++;
    if (!fallbacks[i].on.has(failure_->error)) continue;
    target_ = &request_.route->fallback(i);
    tries_ = 0;
    excluded_.clear();
    prefix_.clear();
    request_.record.fallback = true;
    host_.metrics.fallback(settings().name, target_->upstream().name());
    visit_branch();
    return true;
  }
  return false;
}

// Nothing is under way and nothing was answered: again, elsewhere, or no more. Never at once: the
// end of an attempt may be told from inside the call that began it.
void Relay::decide() {
  hedge_.clear();
  if (waits_for_server()) return;
  Duration wait{};
  if (may_retry(wait)) {
    host_.metrics.retry(settings().name, plan::error_class_name(failure_->error));
    wait_.set(now() + wait);
    return;
  }
  if (next_fallback()) {
    wait_.set(now());
    return;
  }
  give_up();
}

void Relay::give_up() {
  Failure failure = *std::move(failure_);
  RequestRecord& record = request_.record;
  record.error = plan::error_class_name(failure.error);
  if (failure.error == ErrorClass::kAuth) {
    return refuse({Code::kUnavailable, "the upstream refused the gateway's own credentials"});
  }
  if (failure.status >= 400 && failure.status <= 599) {
    record.status = failure.status;
    record.bytes_out = failure.body.size();
    request_.responder->send({.status = failure.status,
                              .headers = answer_headers(failure.headers, record.id),
                              .body = std::move(failure.body)});
    return over();
  }
  if (failure.error == ErrorClass::kTimeout) {
    return refuse(
        {Code::kDeadlineExceeded, "no upstream answered in time", {}, "upstream_timeout"});
  }
  refuse({Code::kUnavailable, std::move(failure.message), {}, "upstream_unavailable"});
}

// An answer of the gateway's own.
void Relay::refuse(const Status& status) {
  RequestRecord& record = request_.record;
  net::HttpResponse response = endpoint::shaped_error(request_.http.path, status);
  if (response.status == 503) {
    const Duration wait = request_.route->unusable_for();
    const auto seconds = std::chrono::ceil<std::chrono::seconds>(wait).count();
    std::erase_if(response.headers,
                  [](const auto& header) { return header.first == "Retry-After"; });
    response.headers.emplace_back("Retry-After",
                                  std::to_string(std::clamp<int64_t>(seconds, 1, 60)));
  }
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  record.ending = Ending::kRefused;
  if (record.error.empty()) record.error = status.reason();
  record.bytes_out = response.body.size();
  request_.responder->send(std::move(response));
  over();
}

// --- Time, and the client -----------------------------------------------------------------------

void Relay::arm_hedge() {
  const plan::Hedge& hedge = settings().hedge;
  if (!hedge.enabled || tries_ != 1 || request_.record.hedged || attempts_.empty()) return;
  Duration after = hedge.after;
  if (after == Duration::zero()) {
    const auto usual = request_.route->memory()->first_bytes.get(hedge.quantile);
    if (!usual) return;
    after = Duration(static_cast<Duration::rep>(*usual * 1e9));
  }
  hedge_.set(now() + after);
}

void Relay::on_hedge_time() {
  if (over_ || winner_ || attempts_.size() != 1) return;
  if (!request_.route->hedges().take(now())) {
    return host_.metrics.hedge(settings().name, "no_budget");
  }
  request_.record.hedged = launch(true);
}

void Relay::on_deadline() {
  if (over_) return;
  if (winner_) {
    host_.metrics.attempt(request_.record.upstream, "out_of_time");
    return cut({Code::kDeadlineExceeded, "the request's time is over", {}, "deadline"}, "deadline");
  }
  for (const AttemptPtr& attempt : std::vector(attempts_)) {
    host_.metrics.attempt(attempt->target->upstream().name(), "out_of_time");
    drop(attempt);
  }
  refuse({Code::kDeadlineExceeded, "the request's time is over", {}, "deadline"});
}

void Relay::on_client_gone() {
  if (over_) return;
  request_.record.ending = Ending::kClientGone;
  over();
}

// Errors and refusals cost nothing. An answer that does not say what it used, or was not heard to
// its end, has used all that was reserved.
void Relay::settle() {
  RequestRecord& record = request_.record;
  const auto told = keeps_tail() ? find_usage(tail_) : std::nullopt;
  if (told) record.usage = TokenCounts{told->prompt, told->completion};
  auto counted = record.usage;
  if (!counted && events_.events() > kEventsWithoutTokens) {
    counted = TokenCounts{0, events_.events() - kEventsWithoutTokens};
  }
  request_.visit.end(load_outcome(record), counted, now());
  if (!request_.grant) return;
  const bool answered = record.status >= 200 && record.status < 400;
  if (!answered && record.ending != Ending::kClientGone) {
    request_.grant->settle({}, record.upstream);
  } else if (told) {
    request_.grant->settle(*told, record.upstream);
  } else {
    request_.grant->settle(request_.grant->most(), record.upstream);
  }
}

void Relay::over() {
  if (std::exchange(over_, true)) return;
  settle();
  const std::shared_ptr<Relay> kept = std::move(self_);
  deadline_.disarm();
  wait_.disarm();
  hedge_.disarm();
  if (ticket_ != 0) request_.route->memory()->admission->withdraw(ticket_);
  for (const AttemptPtr& attempt : std::vector(attempts_)) {
    end(*attempt);  // those that ended already are not harmed by it
  }
  attempts_.clear();
  winner_.reset();
  if (hold_wait_) hold_wait_->withdraw();
  request_.hold = {};
  permit_ = {};
  request_.responder.reset();
  request_.http.body = {};
  if (mirror_ && request_.record.ending != Ending::kClientGone) {
    mirror_->primary.status = request_.record.status;
    mirror_->compare();
  }
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
