// UnbrokenAnswer: how one answer survives the replicas that it comes from. A state machine without
// threads, sockets or a clock: it is told what happened and when, and asked what to do.
//
// An attempt is one request to one replica. Until the client was told anything, a lost attempt is
// retried as a new request; after that it is resumed, on a replica of equal numerics id, at the
// very token where the client stands. A closed attempt is fenced: whatever it says is ignored.
//
// The driver's part: whenever wants() is true, choose a replica as wish() says, then begin() and
// send the request that it returns, or not_begun() or not_permitted(); close what take_closed()
// names; tick() when wake_at() has come.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "api/internal_events.h"
#include "base/clock.h"
#include "base/rng.h"
#include "completion/backend.h"
#include "gateway/replica.h"
#include "gateway/unbroken_log.h"

namespace sluice::gateway {

struct UnbrokenRules {
  // Behind the first attempt, before the client was told anything. Replicas that fell silent do not
  // count: whoever stops says nothing of the request.
  int retries = 2;
  Duration backoff = std::chrono::milliseconds(25);  // doubled each time, with jitter
  Duration max_backoff = std::chrono::seconds(1);
  Duration choose_wait = std::chrono::seconds(2);   // for a replica to begin on
  Duration resume_wait = std::chrono::seconds(10);  // for a replica to go on with
  Duration hang_after = std::chrono::seconds(2);    // of silence: replicas beat ten times a second
  Duration hedge_after{};                           // without a token: a second attempt; 0: none
  int resumes = 16;             // of one answer; moves away from a replica that drains do not count
  int futile_resumes = 4;       // in a row, without one more token; also hangs before the first
  bool other_revision = false;  // when no equal replica lives: go on with different numbers
};

enum class AttemptReason : uint8_t { kFirst, kRetry, kHedge, kResume, kMove, kOtherRevision };
inline constexpr size_t kAttemptReasons = 6;

// Why an attempt was lost.
// kNotSent: for want of something in this process; it says nothing of the replica.
enum class Loss : uint8_t { kNotReached, kRefused, kCut, kHung, kFailed, kNotSent };
inline constexpr size_t kLosses = 6;

// Told of what happens, for metrics. Called inside the calls below.
class UnbrokenObserver {
 public:
  virtual ~UnbrokenObserver() = default;
  virtual void on_attempt(AttemptReason reason) = 0;
  virtual void on_loss(Loss loss, bool resumable) = 0;
  // A resumed answer went on: the client saw nothing for so long.
  virtual void on_gap(Duration gap) = 0;
  // The client was told an error because of the replicas, in mid answer or before it.
  virtual void on_given_up(bool mid_answer) = 0;
};

class UnbrokenAnswer {
 public:
  // `request` has a seed; `jitter` seeds the backoff. Sink and observer outlive the answer.
  UnbrokenAnswer(completion::Request request, const UnbrokenRules& rules, uint64_t jitter,
                 completion::ResponseSink& sink, UnbrokenObserver& observer, TimePoint now);

  struct Wish {
    AttemptReason reason = AttemptReason::kFirst;
    std::string fingerprint;            // only a replica of this numerics id; empty: any
    std::vector<std::string> excluded;  // replicas by name
  };
  struct Closed {
    int attempt = 0;
    UseResult result = UseResult::kAnswered;
    std::optional<Duration> first_token{};
  };

  bool wants(TimePoint now) const { return !over_ && due_ && due_->at <= now; }
  Wish wish() const;
  // The wish came true. Returns what to send; answers to it carry `attempt`, a new number.
  completion::Request begin(int attempt, const std::string& replica, TimePoint now);
  void not_begun(const Status& why, TimePoint now);
  void not_permitted();  // the budget for second attempts is spent
  std::vector<Closed> take_closed() { return std::exchange(closed_, {}); }
  bool has_closed() const { return !closed_.empty(); }

  // What an attempt says. Without effect once it is closed.
  void heard(int attempt, TimePoint now);
  void on_event(int attempt, api::InternalEvent&& event, TimePoint now);
  // Its answer ended, or its connection, or it never had one. `status` says why.
  void on_end(int attempt, Loss loss, const Status& status, TimePoint now);

  void tick(TimePoint now);
  // This process itself did not run for a while: silence until now says nothing of the replicas.
  void overslept(TimePoint now);
  void cancel();

  TimePoint wake_at() const;
  bool over() const { return over_; }

 private:
  struct Attempt {
    int number = 0;
    std::string replica;
    AttemptReason reason = AttemptReason::kFirst;
    TimePoint began;
    TimePoint last_heard;
    bool leaving = false;
    std::optional<api::StartEvent> start;
    std::optional<Duration> first_token;
  };
  struct Due {
    TimePoint at;
    AttemptReason reason;
  };

  Attempt* find(int number);
  void handle(int number, api::StartEvent&& event, TimePoint now);
  void handle(int number, api::PromptLogprobsEvent&& event, TimePoint now);
  void handle(int number, completion::Delta&& delta, TimePoint now);
  void handle(int number, completion::Usage&& usage, TimePoint now);
  void handle(int number, Status&& status, TimePoint now);
  void handle(int number, api::LeavingEvent&& event, TimePoint now);
  void handle(int, api::BeatEvent&&, TimePoint) {}

  bool win(Attempt& attempt, TimePoint now);
  void progressed(Attempt& attempt, TimePoint now);
  void lose(int number, Loss loss, const Status& status, TimePoint now);
  void schedule_retry(Loss loss, const Status& status, TimePoint now);
  void schedule_resume(bool blameless, const Status& status, TimePoint now);
  void close(int number, UseResult result);
  void close_all(UseResult result);
  void finish(const completion::Usage& usage);
  void give_up(const Status& status);
  void refuse(const Status& status);
  void wait_for(Duration patience, TimePoint now);
  Duration backoff();

  const UnbrokenRules rules_;
  completion::ResponseSink& sink_;
  UnbrokenObserver& observer_;
  AnswerLog log_;
  const std::optional<TimePoint> deadline_;
  Rng rng_;

  std::vector<Attempt> attempts_;  // live ones: one, or two while hedging
  std::vector<Closed> closed_;
  std::optional<Due> due_;  // the next attempt
  std::optional<TimePoint> hedge_at_;
  struct Excluded {
    std::string replica;
    TimePoint until;
  };
  std::vector<Excluded> excluded_;
  std::optional<TimePoint> patience_ends_;  // of the wait for a replica
  std::optional<Status> last_loss_;
  std::optional<TimePoint> interrupted_;  // since when the client sees nothing
  TimePoint last_told_;
  int retries_ = 0;
  int hangs_ = 0;  // before the first token
  int resumes_ = 0;
  int futile_ = 0;
  int backoffs_ = 0;
  bool any_revision_ = false;
  bool over_ = false;
};

}  // namespace sluice::gateway
