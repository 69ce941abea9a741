#include "gateway/unbroken_answer.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace sluice::gateway {
namespace {

constexpr Duration kMoveAgain = std::chrono::milliseconds(250);
// For how long a replica that was lost is not asked again, though no other is there: by then its
// checks have told what has become of it.
constexpr Duration kLeaveAlone = std::chrono::milliseconds(500);
// The replica itself ends an answer at its deadline; this is for one that does not.
constexpr Duration kDeadlineGrace = std::chrono::seconds(1);

UseResult use_result(Loss loss) {
  switch (loss) {
    case Loss::kNotReached:
      return UseResult::kNotReached;
    case Loss::kRefused:
      return UseResult::kRefused;
    case Loss::kHung:
      return UseResult::kHung;
    case Loss::kNotSent:
      return UseResult::kUntold;
    case Loss::kCut:
    case Loss::kFailed:
      break;
  }
  return UseResult::kFailed;
}

// An error that a replica answered with: lost, or what any replica would say.
std::optional<Loss> loss_of(const Status& status) {
  switch (status.code()) {
    case Code::kUnavailable:
    case Code::kResourceExhausted:
      return Loss::kRefused;
    case Code::kInternal:
    case Code::kDataLoss:
    case Code::kCancelled:  // we did not: it shuts down
      return Loss::kFailed;
    default:
      break;
  }
  if (status.reason() == "resume_mismatch") return Loss::kRefused;
  return std::nullopt;
}

}  // namespace

UnbrokenAnswer::UnbrokenAnswer(completion::Request request, const UnbrokenRules& rules,
                               uint64_t jitter, completion::ResponseSink& sink,
                               UnbrokenObserver& observer, TimePoint now)
    : rules_(rules),
      sink_(sink),
      observer_(observer),
      log_(std::move(request)),
      deadline_(log_.deadline()),
      rng_(jitter),
      due_(Due{now, AttemptReason::kFirst}),
      last_told_(now) {
  if (rules_.hedge_after > Duration::zero()) hedge_at_ = now + rules_.hedge_after;
}

UnbrokenAnswer::Attempt* UnbrokenAnswer::find(int number) {
  const auto at = std::ranges::find(attempts_, number, &Attempt::number);
  return at == attempts_.end() || over_ ? nullptr : &*at;
}

UnbrokenAnswer::Wish UnbrokenAnswer::wish() const {
  Wish wish{.reason = due_->reason, .fingerprint = {}, .excluded = {}};
  for (const Excluded& each : excluded_) wish.excluded.push_back(each.replica);
  if (log_.begun() && !any_revision_) wish.fingerprint = log_.fingerprint();
  // A second attempt beside a first is for another replica.
  for (const Attempt& attempt : attempts_) wish.excluded.push_back(attempt.replica);
  return wish;
}

completion::Request UnbrokenAnswer::begin(int attempt, const std::string& replica, TimePoint now) {
  const AttemptReason reason = due_->reason;
  due_.reset();
  // What the old replica says from now on would not be known to the new one.
  if (reason == AttemptReason::kMove) close_all(UseResult::kAnswered);
  attempts_.push_back({.number = attempt,
                       .replica = replica,
                       .reason = reason,
                       .began = now,
                       .last_heard = now,
                       .start = {},
                       .first_token = {}});
  observer_.on_attempt(reason);
  return log_.next_request(any_revision_);
}

void UnbrokenAnswer::not_begun(const Status& why, TimePoint now) {
  const AttemptReason reason = due_->reason;
  due_.reset();
  if (reason == AttemptReason::kHedge) return;
  if (reason == AttemptReason::kMove && !attempts_.empty()) {
    due_ = Due{now + kMoveAgain, reason};
    return;
  }
  if (why.code() != Code::kUnavailable && why.code() != Code::kResourceExhausted)
    return refuse(why);
  wait_for(log_.begun() ? rules_.resume_wait : rules_.choose_wait, now);
  // A replica that was lost may be back.
  std::erase_if(excluded_, [now](const Excluded& each) { return each.until <= now; });
  if (now < *patience_ends_) {
    due_ = Due{std::min(now + backoff(), *patience_ends_), reason};
    return;
  }
  if (log_.begun() && rules_.other_revision && !any_revision_) {
    any_revision_ = true;
    patience_ends_.reset();
    due_ = Due{now, AttemptReason::kOtherRevision};
    return;
  }
  give_up(last_loss_.value_or(why));
}

void UnbrokenAnswer::not_permitted() {
  const AttemptReason reason = due_->reason;
  due_.reset();
  if (reason == AttemptReason::kHedge || !attempts_.empty()) return;
  give_up(last_loss_.value_or(Status(Code::kUnavailable, "too much is being retried already")));
}

void UnbrokenAnswer::heard(int attempt, TimePoint now) {
  if (Attempt* at = find(attempt)) at->last_heard = now;
}

void UnbrokenAnswer::on_event(int attempt, api::InternalEvent&& event, TimePoint now) {
  if (find(attempt) == nullptr) return;
  std::visit([&](auto& each) { handle(attempt, std::move(each), now); }, event);
}

void UnbrokenAnswer::handle(int number, api::StartEvent&& event, TimePoint now) {
  Attempt& attempt = *find(number);
  if (attempt.start) {
    return lose(number, Loss::kFailed, {Code::kDataLoss, "a replica began its answer twice"}, now);
  }
  if (log_.begun() && !any_revision_ && event.fingerprint != log_.fingerprint()) {
    return lose(number, Loss::kFailed,
                {Code::kDataLoss, "a replica resumed under another numerics id"}, now);
  }
  attempt.start = std::move(event);
}

// The first attempt that has something to tell is the one that is told. False when it was lost
// over it.
bool UnbrokenAnswer::win(Attempt& attempt, TimePoint now) {
  if (!attempt.start) {
    lose(attempt.number, Loss::kFailed, {Code::kDataLoss, "a replica's answer has no start"}, now);
    return false;
  }
  if (!attempt.first_token) attempt.first_token = now - attempt.began;
  if (attempts_.size() > 1) {
    const int winner = attempt.number;  // the reference does not survive
    std::vector<int> losers;
    for (const Attempt& each : attempts_) {
      if (each.number != winner) losers.push_back(each.number);
    }
    for (const int loser : losers) close(loser, UseResult::kUntold);
    return win(attempts_.front(), now);
  }
  hedge_at_.reset();
  if (due_ && due_->reason == AttemptReason::kHedge) due_.reset();
  if (!log_.begun()) {
    log_.begin(*attempt.start);
    sink_.on_start(std::move(attempt.start->info));
    attempt.start->info = {};
  } else if (any_revision_ && attempt.reason == AttemptReason::kOtherRevision) {
    log_.go_on_with(*attempt.start);
    any_revision_ = false;
  }
  return true;
}

void UnbrokenAnswer::progressed(Attempt&, TimePoint now) {
  if (interrupted_) observer_.on_gap(now - last_told_);
  interrupted_.reset();
  patience_ends_.reset();
  last_loss_.reset();
  futile_ = 0;
  backoffs_ = 0;
  last_told_ = now;
}

void UnbrokenAnswer::handle(int number, api::PromptLogprobsEvent&& event, TimePoint now) {
  if (!win(*find(number), now)) return;
  const Outcome taken = log_.add_prompt_logprobs(event.prompt);
  if (!taken) return lose(number, Loss::kFailed, taken.error(), now);
  sink_.on_prompt_logprobs(event.prompt, std::move(event.entries));
}

void UnbrokenAnswer::handle(int number, completion::Delta&& delta, TimePoint now) {
  if (!win(*find(number), now)) return;
  const Outcome taken = log_.add(delta);
  if (!taken) return lose(number, Loss::kFailed, taken.error(), now);
  progressed(*find(number), now);
  excluded_.clear();
  sink_.on_delta(std::move(delta));
}

void UnbrokenAnswer::handle(int number, completion::Usage&& usage, TimePoint now) {
  if (!win(*find(number), now)) return;
  if (!log_.complete()) {
    return lose(number, Loss::kFailed, {Code::kDataLoss, "a replica's answer is not whole"}, now);
  }
  close_all(UseResult::kAnswered);
  completion::Usage all = log_.usage();
  all.cached_tokens = std::min(usage.cached_tokens, all.prompt_tokens);
  finish(all);
}

void UnbrokenAnswer::handle(int number, Status&& status, TimePoint now) {
  if (const auto loss = loss_of(status)) return lose(number, *loss, status, now);
  close_all(UseResult::kAnswered);
  refuse(status);
}

void UnbrokenAnswer::handle(int number, api::LeavingEvent&&, TimePoint now) {
  Attempt& attempt = *find(number);
  if (attempt.leaving) return;
  attempt.leaving = true;
  if (attempts_.size() == 1) due_ = Due{now, AttemptReason::kMove};
}

void UnbrokenAnswer::on_end(int attempt, Loss loss, const Status& status, TimePoint now) {
  if (find(attempt) != nullptr) lose(attempt, loss, status, now);
}

void UnbrokenAnswer::lose(int number, Loss loss, const Status& status, TimePoint now) {
  const bool leaving = find(number)->leaving;
  excluded_.push_back({find(number)->replica, loss == Loss::kRefused ? now : now + kLeaveAlone});
  close(number, use_result(loss));
  observer_.on_loss(loss, log_.begun());
  last_loss_ = status;
  if (!attempts_.empty()) return;  // the other one goes on
  hedge_at_.reset();
  if (log_.begun() && log_.complete()) return finish(log_.usage());
  if (!log_.begun()) return schedule_retry(loss, status, now);
  // A replica that refuses, or has said that it leaves, did not fall over the request.
  const bool blameless =
      leaving || loss == Loss::kRefused || loss == Loss::kNotReached || loss == Loss::kNotSent;
  schedule_resume(blameless, status, now);
}

void UnbrokenAnswer::schedule_retry(Loss loss, const Status& status, TimePoint now) {
  const bool hung = loss == Loss::kHung;
  int& spent = hung ? hangs_ : retries_;
  if (spent >= (hung ? rules_.futile_resumes : rules_.retries)) return give_up(status);
  // Another replica's silence took the time in which one could have been waited for.
  if (hung) patience_ends_.reset();
  ++spent;
  wait_for(rules_.choose_wait, now);
  const bool at_once = hung || retries_ == 1;
  due_ = Due{now + (at_once ? Duration::zero() : backoff()), AttemptReason::kRetry};
}

void UnbrokenAnswer::schedule_resume(bool blameless, const Status& status, TimePoint now) {
  const bool first = !interrupted_;
  if (first) interrupted_ = now;
  wait_for(rules_.resume_wait, now);
  if (!blameless && (++resumes_ > rules_.resumes || ++futile_ > rules_.futile_resumes)) {
    return give_up(status);
  }
  if (now >= *patience_ends_) return give_up(status);
  due_ = Due{now + (first ? Duration::zero() : backoff()),
             any_revision_ ? AttemptReason::kOtherRevision : AttemptReason::kResume};
}

void UnbrokenAnswer::wait_for(Duration patience, TimePoint now) {
  if (!patience_ends_) patience_ends_ = now + patience;
}

Duration UnbrokenAnswer::backoff() {
  Duration delay = rules_.backoff;
  for (int i = 0; i < backoffs_ && delay < rules_.max_backoff; ++i) delay *= 2;
  ++backoffs_;
  delay = std::min(delay, rules_.max_backoff);
  const double factor = 0.8 + 0.4 * rng_.uniform();
  return std::chrono::duration_cast<Duration>(delay * factor);
}

void UnbrokenAnswer::close(int number, UseResult result) {
  const auto at = std::ranges::find(attempts_, number, &Attempt::number);
  closed_.push_back({number, result, at->first_token});
  attempts_.erase(at);
}

void UnbrokenAnswer::close_all(UseResult result) {
  while (!attempts_.empty()) close(attempts_.back().number, result);
}

void UnbrokenAnswer::finish(const completion::Usage& usage) {
  over_ = true;
  sink_.on_done(usage);
}

// The replicas are at fault.
void UnbrokenAnswer::give_up(const Status& status) {
  observer_.on_given_up(log_.begun());
  if (!log_.begun()) return refuse(status);
  refuse(Status(Code::kUnavailable,
                fmt::format("the answer was cut off and no equal server could go on with it: {}",
                            status.message()),
                {}, "resume_failed"));
}

void UnbrokenAnswer::refuse(const Status& status) {
  // Whoever was still to say something was not let.
  while (!attempts_.empty()) {
    const Attempt& last = attempts_.back();
    close(last.number, last.first_token ? UseResult::kAnswered : UseResult::kUntold);
  }
  over_ = true;
  sink_.on_error(status);
}

void UnbrokenAnswer::tick(TimePoint now) {
  if (over_) return;
  if (deadline_ && now >= *deadline_ + (attempts_.empty() ? Duration::zero() : kDeadlineGrace)) {
    return refuse(Status(Code::kDeadlineExceeded,
                         "the request's time ran out before it was finished", {}, "deadline"));
  }
  std::vector<int> hung;
  for (const Attempt& attempt : attempts_) {
    if (now - attempt.last_heard >= rules_.hang_after) hung.push_back(attempt.number);
  }
  for (const int number : hung) {
    if (find(number) == nullptr) continue;
    lose(number, Loss::kHung,
         {Code::kUnavailable,
          fmt::format("a replica was silent for {:.1f} s", to_seconds(rules_.hang_after))},
         now);
  }
  if (!over_ && hedge_at_ && *hedge_at_ <= now && attempts_.size() == 1 && !due_) {
    hedge_at_.reset();
    due_ = Due{now, AttemptReason::kHedge};
  }
}

void UnbrokenAnswer::overslept(TimePoint now) {
  for (Attempt& attempt : attempts_) attempt.last_heard = now;
}

void UnbrokenAnswer::cancel() {
  if (!over_) refuse(Status(Code::kCancelled, "the request was cancelled"));
}

TimePoint UnbrokenAnswer::wake_at() const {
  TimePoint at = TimePoint::max();
  if (over_) return at;
  if (due_) at = std::min(at, due_->at);
  if (hedge_at_ && attempts_.size() == 1) at = std::min(at, *hedge_at_);
  if (deadline_)
    at = std::min(at, *deadline_ + (attempts_.empty() ? Duration::zero() : kDeadlineGrace));
  for (const Attempt& attempt : attempts_) {
    at = std::min(at, attempt.last_heard + rules_.hang_after);
  }
  return at;
}

}  // namespace sluice::gateway
