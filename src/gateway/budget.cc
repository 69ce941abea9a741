#include "gateway/budget.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>

namespace sluice::gateway {
namespace {

namespace chrono = std::chrono;

// Rounded up to the next whole step: an amount never leaves the sum too early.
TimePoint leaves_at(TimePoint at) {
  const auto ticks = at.time_since_epoch().count();
  const auto step = SlidingMinute::kStep.count();
  return TimePoint(Duration((ticks / step + 1) * step)) + SlidingMinute::kLength;
}

std::optional<Refusal> over(LimitKind kind, int64_t allowed, int64_t used, int64_t asked,
                            Duration retry_after) {
  if (allowed == 0 || used + asked <= allowed) return std::nullopt;
  Refusal refusal{.limit = kind, .allowed = allowed, .used = used, .asked = asked};
  if (asked <= allowed) refusal.retry_after = retry_after;
  return refusal;
}

}  // namespace

std::string_view limit_name(LimitKind kind) {
  constexpr std::array<std::string_view, 6> kNames = {"requests_per_minute", "tokens_per_minute",
                                                      "tokens_per_day",      "concurrency",
                                                      "money_per_day",       "money_per_month"};
  return kNames[static_cast<size_t>(kind)];
}

Moment moment_at(TimePoint now, double unix_seconds) {
  const auto seconds = chrono::sys_seconds(chrono::seconds(static_cast<int64_t>(unix_seconds)));
  const chrono::sys_days day = chrono::floor<chrono::days>(seconds);
  const chrono::year_month_day date(day);
  const chrono::year_month month = date.year() / date.month();
  const chrono::sys_days next_month(chrono::sys_days((month + chrono::months(1)) / 1));
  return {.now = now,
          .day = day.time_since_epoch().count(),
          .month = (month - chrono::year_month(chrono::year(1970), chrono::January)).count(),
          .to_next_day = day + chrono::days(1) - seconds,
          .to_next_month = next_month - seconds};
}

void SlidingMinute::expire(TimePoint now) {
  while (!steps_.empty() && steps_.front().ends <= now) {
    sum_ -= steps_.front().amount;
    steps_.pop_front();
  }
}

void SlidingMinute::add(TimePoint now, int64_t amount) {
  expire(now);
  sum_ += amount;
  const TimePoint ends = leaves_at(now);
  // Amounts of an earlier process come with times before those there already.
  const auto at = std::ranges::lower_bound(steps_, ends, {}, &Step::ends);
  if (at != steps_.end() && at->ends == ends) {
    at->amount += amount;
  } else {
    steps_.insert(at, {ends, amount});
  }
}

int64_t SlidingMinute::sum(TimePoint now) {
  expire(now);
  return sum_;
}

std::optional<Duration> SlidingMinute::until_released(TimePoint now, int64_t amount) {
  expire(now);
  int64_t released = 0;
  for (const Step& step : steps_) {
    released += step.amount;
    if (released >= amount) return step.ends - now;
  }
  return std::nullopt;
}

void Budget::turn(const Moment& at) {
  if (at.day > day_) {
    day_ = at.day;
    day_tokens_ = day_micros_ = 0;
  }
  if (at.month > month_) {
    month_ = at.month;
    month_micros_ = 0;
  }
}

std::optional<Refusal> Budget::refusal(const Moment& at, const Amount& most) {
  turn(at);
  constexpr Duration kSoon = chrono::seconds(1);
  // Reserved tokens leave 60 s after a settlement that is still to come.
  const auto minute_wait = [&](SlidingMinute& window, int64_t used, int64_t asked, int64_t limit) {
    return window.until_released(at.now, used + asked - limit).value_or(SlidingMinute::kLength);
  };
  if (auto no = over(LimitKind::kConcurrency, limits_.max_concurrent, open_, 1, kSoon)) return no;
  const int64_t requests = requests_.sum(at.now);
  if (limits_.requests_per_minute != 0) {
    if (auto no = over(LimitKind::kRequestsPerMinute, limits_.requests_per_minute, requests, 1,
                       minute_wait(requests_, requests, 1, limits_.requests_per_minute))) {
      return no;
    }
  }
  if (limits_.tokens_per_minute != 0) {
    const int64_t tokens = settled_tokens_.sum(at.now) + reserved_tokens_;
    if (auto no =
            over(LimitKind::kTokensPerMinute, limits_.tokens_per_minute, tokens, most.tokens,
                 minute_wait(settled_tokens_, tokens, most.tokens, limits_.tokens_per_minute))) {
      return no;
    }
  }
  if (auto no = over(LimitKind::kTokensPerDay, limits_.tokens_per_day, day_tokens_, most.tokens,
                     at.to_next_day)) {
    return no;
  }
  if (auto no = over(LimitKind::kMoneyPerDay, limits_.micros_per_day, day_micros_, most.micros,
                     at.to_next_day)) {
    return no;
  }
  return over(LimitKind::kMoneyPerMonth, limits_.micros_per_month, month_micros_, most.micros,
              at.to_next_month);
}

void Budget::reserve(const Moment& at, const Amount& most) {
  turn(at);
  requests_.add(at.now, 1);
  ++open_;
  reserved_tokens_ += most.tokens;
  add_to_periods(at, most);
}

void Budget::add_to_periods(const Moment& at, const Amount& amount) {
  if (at.day == day_) {
    day_tokens_ += amount.tokens;
    day_micros_ += amount.micros;
  }
  if (at.month == month_) month_micros_ += amount.micros;
}

void Budget::settle(const Moment& at, const Moment& reserved_at, const Amount& most,
                    const Amount& used) {
  turn(at);
  --open_;
  reserved_tokens_ -= most.tokens;
  settled_tokens_.add(at.now, used.tokens);
  add_to_periods(reserved_at, {used.tokens - most.tokens, used.micros - most.micros});
}

void Budget::restore_minute(const Moment& at, Duration ago, int64_t tokens) {
  if (ago < SlidingMinute::kLength) settled_tokens_.add(at.now - ago, tokens);
}

void Budget::restore_request(const Moment& at, Duration ago) {
  if (ago < SlidingMinute::kLength) requests_.add(at.now - ago, 1);
}

void Budget::restore_period(const Moment& at, const Moment& when, const Amount& used) {
  turn(at);
  add_to_periods(when, used);
}

std::optional<Budget::Left> Budget::requests_left(const Moment& at) {
  if (limits_.requests_per_minute == 0) return std::nullopt;
  const int64_t used = requests_.sum(at.now);
  return Left{.limit = limits_.requests_per_minute,
              .left = std::max<int64_t>(0, limits_.requests_per_minute - used),
              .reset = requests_.until_released(at.now, used).value_or(Duration{})};
}

std::optional<Budget::Left> Budget::tokens_left(const Moment& at) {
  if (limits_.tokens_per_minute == 0) return std::nullopt;
  const int64_t settled = settled_tokens_.sum(at.now);
  const Duration reset = settled_tokens_.until_released(at.now, settled).value_or(Duration{});
  return Left{.limit = limits_.tokens_per_minute,
              .left = std::max<int64_t>(0, limits_.tokens_per_minute - settled - reserved_tokens_),
              .reset = reserved_tokens_ > 0 ? SlidingMinute::kLength : reset};
}

}  // namespace sluice::gateway
