#include "gateway/load_meter.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sluice::gateway {
namespace {

constexpr int64_t kNanos = 1'000'000'000;

double to_ms(Duration d) { return to_seconds(d) * 1e3; }

}  // namespace

LoadOutcome load_outcome(const RequestRecord& record) {
  switch (record.ending) {
    case Ending::kClientGone:
      return LoadOutcome::kLeft;
    case Ending::kCut:
      return LoadOutcome::kFailed;
    case Ending::kRefused:  // by the gateway: for want of a server, or for the caller's own sake
      return record.status >= 500 ? LoadOutcome::kFailed : LoadOutcome::kLeft;
    case Ending::kAnswered:
      break;
  }
  if (record.status == 429 || record.status == 503) return LoadOutcome::kRefused;
  return record.status >= 500 ? LoadOutcome::kFailed : LoadOutcome::kAnswered;
}

Duration LoadMeter::unix_offset_of(const Clock& clock) {
  const auto unix_nanos = static_cast<int64_t>(clock.unix_seconds() * 1e9);
  return Duration(unix_nanos) - clock.now().time_since_epoch();
}

LoadMeter::LoadMeter(Duration unix_offset) : unix_offset_(unix_offset) {}

void LoadMeter::set_usable(int usable) {
  const std::lock_guard lock(mutex_);
  usable_ = usable;
}

int LoadMeter::usable() const {
  const std::lock_guard lock(mutex_);
  return usable_;
}

// Counts what was under way until now, second by second.
void LoadMeter::advance(TimePoint now) {
  const int64_t unix_nanos = (now.time_since_epoch() + unix_offset_).count();
  const int64_t second = unix_nanos / kNanos;
  if (second_ == 0) {
    second_ = second;
    began_ = looked_ = now;
  }
  // Of a long rest only the end is told.
  const auto kept = static_cast<int64_t>(kKept);
  if (second - second_ > kept) {
    close(TimePoint(Duration((second_ + 1) * kNanos) - unix_offset_), second - kept);
    began_ = looked_ = TimePoint(Duration(second_ * kNanos) - unix_offset_);
  }
  while (second_ < second) {
    close(TimePoint(Duration((second_ + 1) * kNanos) - unix_offset_), second_ + 1);
  }
  if (now <= looked_) return;
  area_ += static_cast<double>(in_flight_) * to_seconds(now - looked_);
  looked_ = now;
}

void LoadMeter::close(TimePoint boundary, int64_t next_second) {
  if (boundary > looked_) {
    area_ += static_cast<double>(in_flight_) * to_seconds(boundary - looked_);
    looked_ = boundary;
  }
  plan::UpstreamLoad load = std::exchange(load_, {});
  load.concurrency = area_ / std::max(1.0, to_seconds(looked_ - began_));
  load.in_flight = in_flight_;
  load.held = held_;
  for (const Waiting& each : waiting_) {
    if (load.waiting_first.size() == plan::kMaxWaitingFirst) break;
    add_waited(load, each, boundary);
  }
  closed_.push_back({.second = second_, .load = std::move(load)});
  if (closed_.size() > kKept) closed_.pop_front();
  area_ = 0;
  began_ = looked_;
  second_ = next_second;
}

void LoadMeter::add_waited(plan::UpstreamLoad& load, const Waiting& who, TimePoint now) const {
  const auto waited = std::chrono::duration_cast<std::chrono::milliseconds>(now - who.began);
  load.waiting_first.push_back(
      {.waited_ms = std::max<int64_t>(0, waited.count()), .usable = who.usable});
}

std::vector<LoadMeter::Second> LoadMeter::take(TimePoint now, Duration unix_offset) {
  const std::lock_guard lock(mutex_);
  unix_offset_ = unix_offset;
  advance(now);
  std::vector<Second> taken(std::make_move_iterator(closed_.begin()),
                            std::make_move_iterator(closed_.end()));
  closed_.clear();
  return taken;
}

LoadVisit::LoadVisit(std::shared_ptr<LoadMeter> meter, TimePoint began, TimePoint now)
    : meter_(std::move(meter)), began_(began) {
  const std::lock_guard lock(meter_->mutex_);
  meter_->advance(now);
  ++meter_->in_flight_;
  ++meter_->load_.arrived;
  waiting_ = meter_->waiting_.insert(meter_->waiting_.end(), {began, meter_->usable_});
}

LoadVisit::LoadVisit(LoadVisit&& other) noexcept
    : meter_(std::move(other.meter_)),
      began_(other.began_),
      first_token_(other.first_token_),
      waiting_(std::exchange(other.waiting_, std::nullopt)),
      held_(other.held_) {}

LoadVisit& LoadVisit::operator=(LoadVisit&& other) noexcept {
  if (this == &other) return *this;
  leave();
  meter_ = std::move(other.meter_);
  began_ = other.began_;
  first_token_ = other.first_token_;
  waiting_ = std::exchange(other.waiting_, std::nullopt);
  held_ = other.held_;
  return *this;
}

void LoadVisit::hold(TimePoint now) {
  if (!meter_ || std::exchange(held_, true)) return;
  const std::lock_guard lock(meter_->mutex_);
  meter_->advance(now);
  ++meter_->held_;
}

void LoadVisit::release(TimePoint now) {
  if (!meter_ || !std::exchange(held_, false)) return;
  const std::lock_guard lock(meter_->mutex_);
  meter_->advance(now);
  --meter_->held_;
}

void LoadVisit::forget_wait() {
  if (waiting_) meter_->waiting_.erase(*waiting_);
  waiting_.reset();
}

void LoadVisit::first_token(TimePoint now) {
  if (!meter_ || first_token_) return;
  first_token_ = now;
  const std::lock_guard lock(meter_->mutex_);
  meter_->advance(now);
  meter_->load_.ttft.add(to_ms(now - began_));
  if (waiting_ && meter_->load_.waiting_first.size() < plan::kMaxWaitingFirst) {
    meter_->add_waited(meter_->load_, **waiting_, now);
  }
  forget_wait();
}

void LoadVisit::tells_no_first_token(TimePoint now) {
  if (!meter_) return;
  const std::lock_guard lock(meter_->mutex_);
  meter_->advance(now);
  forget_wait();
}

void LoadVisit::end(LoadOutcome outcome, const std::optional<TokenCounts>& usage, TimePoint now) {
  if (!meter_) return;
  const auto meter = std::move(meter_);
  const std::lock_guard lock(meter->mutex_);
  meter->advance(now);
  --meter->in_flight_;
  if (std::exchange(held_, false)) --meter->held_;
  if (waiting_) meter->waiting_.erase(*waiting_);
  waiting_.reset();
  plan::UpstreamLoad& load = meter->load_;
  if (outcome == LoadOutcome::kFailed) ++load.failed;
  if (outcome == LoadOutcome::kRefused) ++load.refused;
  if (usage) {
    load.prompt_tokens += usage->prompt;
    load.completion_tokens += usage->completion;
  }
  if (outcome != LoadOutcome::kAnswered) return;
  ++load.answered;
  load.latency.add(to_ms(now - began_));
  // The first token began the stream; the others took the time.
  if (!usage || !first_token_ || usage->completion < 2 || now <= *first_token_) return;
  load.stream_rate.add(static_cast<double>(usage->completion - 1) /
                       to_seconds(now - *first_token_));
}

void LoadVisit::leave() {
  if (meter_) end(LoadOutcome::kLeft, std::nullopt, system_clock().now());
}

}  // namespace sluice::gateway
