// Budget: how much of its limits one tenant or key has used, and whether a request may begin.
//
// A request reserves the most that it can cost before it is sent on, and is settled with what it
// did cost when it has ended. What is reserved counts as used. So no limit is ever passed, not by
// one token, however many requests run at once.
//
// The sliding minute: what a request used counts from its reservation until 60 s after its
// settlement, as its last token may have come just then. In no 60 s is more used than the limit.
// Days and months are UTC's; a request belongs to those in which it was reserved.
//
// No clock, no lock, no file: the owner gives the time, one thread at a time.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <string_view>

#include "base/clock.h"
#include "plan/limits.h"

namespace sluice::gateway {

struct Amount {
  int64_t tokens = 0;
  int64_t micros = 0;  // millionths of the currency unit
};

enum class LimitKind {
  kRequestsPerMinute,
  kTokensPerMinute,
  kTokensPerDay,
  kConcurrency,
  kMoneyPerDay,
  kMoneyPerMonth,
};

std::string_view limit_name(LimitKind kind);  // "tokens_per_minute", a reason and a metric label

struct Refusal {
  LimitKind limit = LimitKind::kRequestsPerMinute;
  int64_t allowed = 0;
  int64_t used = 0;   // reserved included
  int64_t asked = 0;  // by this request
  // When it may be worth trying again; none: never, the request alone is over the limit.
  std::optional<Duration> retry_after{};
};

// When something happened, in the three calendars that limits have.
struct Moment {
  TimePoint now{};
  int64_t day = 0;    // days since the Unix epoch, UTC
  int64_t month = 0;  // months since January 1970, UTC
  Duration to_next_day{};
  Duration to_next_month{};
};

Moment moment_at(TimePoint now, double unix_seconds);

// A sum over the last 60 s, in steps of kStep: exact to the amount, late by at most one step.
class SlidingMinute {
 public:
  static constexpr Duration kLength = std::chrono::seconds(60);
  static constexpr Duration kStep = std::chrono::milliseconds(100);

  void add(TimePoint now, int64_t amount);
  int64_t sum(TimePoint now);
  // How long until `amount` less is in the sum; none when the sum is smaller than that.
  std::optional<Duration> until_released(TimePoint now, int64_t amount);

 private:
  struct Step {
    TimePoint ends;  // when its amounts leave the sum
    int64_t amount;
  };
  void expire(TimePoint now);

  std::deque<Step> steps_;  // at most kLength / kStep + 1
  int64_t sum_ = 0;
};

class Budget {
 public:
  void set_limits(const plan::Limits& limits) { limits_ = limits; }
  const plan::Limits& limits() const { return limits_; }

  std::optional<Refusal> refusal(const Moment& at, const Amount& most);
  void reserve(const Moment& at, const Amount& most);
  // `reserved_at` is the moment that reserve() was told.
  void settle(const Moment& at, const Moment& reserved_at, const Amount& most, const Amount& used);
  // What an earlier process had used: `ago` before `at`.
  void restore_minute(const Moment& at, Duration ago, int64_t tokens);
  void restore_request(const Moment& at, Duration ago);
  void restore_period(const Moment& at, const Moment& when, const Amount& used);

  // For x-ratelimit headers: of a minute's limit, what is left and when all of it is back.
  struct Left {
    int64_t limit = 0;
    int64_t left = 0;
    Duration reset{};
  };
  // None: not limited.
  std::optional<Left> requests_left(const Moment& at);
  std::optional<Left> tokens_left(const Moment& at);

 private:
  void turn(const Moment& at);  // into a new day or month, never back
  void add_to_periods(const Moment& at, const Amount& amount);

  plan::Limits limits_;
  SlidingMinute requests_;
  SlidingMinute settled_tokens_;
  int64_t open_ = 0;             // requests under way
  int64_t reserved_tokens_ = 0;  // theirs
  int64_t day_ = 0, month_ = 0;
  int64_t day_tokens_ = 0, day_micros_ = 0, month_micros_ = 0;  // reserved included
};

}  // namespace sluice::gateway
