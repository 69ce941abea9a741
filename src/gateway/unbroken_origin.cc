#include "gateway/unbroken_origin.h"

#include <array>
#include <utility>

namespace sluice::gateway {
namespace {

std::string_view reason_name(AttemptReason reason) {
  constexpr std::array<std::string_view, kAttemptReasons> kNames = {
      "first", "retry", "hedge", "resume", "move", "other_revision"};
  return kNames[static_cast<size_t>(reason)];
}

std::string_view result_name(UseResult result) {
  constexpr std::array<std::string_view, kUseResults> kNames = {
      "answered", "refused", "failed", "not_reached", "hung", "cancelled"};
  return kNames[static_cast<size_t>(result)];
}

}  // namespace

void UnbrokenOrigin::note_error(const Status& status) const {
  const std::lock_guard lock(mutex);
  failed = true;
  record.error = status.reason().empty() ? code_name(status.code()) : status.reason();
}

void UnbrokenOrigin::note_usage(const completion::Usage& usage) const {
  const std::lock_guard lock(mutex);
  record.usage = TokenCounts{usage.prompt_tokens, usage.completion_tokens};
}

void UnbrokenOrigin::note_first_token(TimePoint now) const {
  const std::lock_guard lock(mutex);
  visit.first_token(now);
}

RequestRecord UnbrokenOrigin::end(Ending ending, std::optional<int> status, TimePoint now) const {
  Admission::Permit place;
  Admission::Permit held;
  const std::lock_guard lock(mutex);
  place = std::move(permit);
  held = std::move(hold);
  record.ending = ending;
  if (status) record.status = *status;
  visit.end(load_outcome(record), record.usage, now);
  return record;
}

std::string UnbrokenOrigin::note_attempt(const telemetry::Tracer* tracer, int attempt,
                                         AttemptReason reason, const ReplicaInfo& replica,
                                         TimePoint now) const {
  const std::lock_guard lock(mutex);
  // A retry or a fallback may go elsewhere.
  const auto there = snapshot->upstreams().find(replica.upstream);
  if (there != snapshot->upstreams().end() && !visit.of(there->second->load().get())) {
    visit.end(LoadOutcome::kFailed, std::nullopt, now);
    visit = LoadVisit(there->second->load(), record.began, now);
  }
  ++record.attempts;
  record.upstream = replica.upstream;
  record.replica = replica.name;
  if (reason == AttemptReason::kHedge) record.hedged = true;
  auto span = AttemptSpan::begin(tracer, record, reason_name(reason), replica);
  if (!span) return traceparent;
  return attempts.insert_or_assign(attempt, std::move(span)).first->second->traceparent();
}

void UnbrokenOrigin::note_closed(const UnbrokenAnswer::Closed& closed) const {
  const std::lock_guard lock(mutex);
  const auto span = attempts.extract(closed.attempt);
  if (span.empty()) return;
  if (closed.first_token) span.mapped()->first_token(*closed.first_token);
  span.mapped()->end(closed.result == UseResult::kAnswered ? "" : result_name(closed.result));
}

const UnbrokenOrigin* origin_of(const completion::Request& request) {
  return static_cast<const UnbrokenOrigin*>(request.context.get());
}

void RecordingResponder::send(net::HttpResponse response) {
  add_own(response.headers);
  note(response.status, response.body.size());
  // What a replica refused is its answer; what nobody could answer is refused here.
  const Ending ending = ending_now(response.status >= 500 ? Ending::kRefused : Ending::kAnswered);
  inner_->send(std::move(response));
  over(ending);
}

void RecordingResponder::start(int status, net::Headers headers) {
  add_own(headers);
  note(status, 0);
  {
    const std::lock_guard lock(origin_->mutex);
    origin_->record.stream = true;
    const Duration served = origin_->record.first_byte - origin_->record.waited;
    origin_->route->memory()->first_bytes.add(to_seconds(served));
  }
  inner_->start(status, std::move(headers));
}

bool RecordingResponder::write(std::string_view bytes) {
  bytes_ += bytes.size();
  return inner_->write(bytes);
}

void RecordingResponder::finish() {
  const Ending ending = ending_now(Ending::kCut);
  ending == Ending::kCut ? inner_->finish_with_error() : inner_->finish();
  over(ending);
}

Ending RecordingResponder::ending_now(Ending failed) const {
  if (inner_->closed()) return Ending::kClientGone;
  const std::lock_guard lock(origin_->mutex);
  return origin_->failed ? failed : Ending::kAnswered;
}

void RecordingResponder::add_own(net::Headers& headers) {
  const std::lock_guard lock(origin_->mutex);
  take_headers(headers, origin_->limit_headers);
  headers.emplace_back("X-Request-Id", origin_->record.id);
}

void RecordingResponder::note(int status, size_t bytes) {
  bytes_ += bytes;
  const std::lock_guard lock(origin_->mutex);
  origin_->record.status = status;
  origin_->record.first_byte = host_.clock.now() - origin_->record.began;
}

void RecordingResponder::over(Ending ending) {
  if (over_.exchange(true)) return;
  {
    const std::lock_guard lock(origin_->mutex);
    origin_->record.bytes_out = bytes_;
  }
  RequestRecord record = origin_->end(ending, std::nullopt, host_.clock.now());
  host_.on_over(record);
}

}  // namespace sluice::gateway
