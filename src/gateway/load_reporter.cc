#include "gateway/load_reporter.h"

#include <chrono>
#include <latch>
#include <utility>

#include "base/ids.h"
#include "base/log.h"

namespace sluice::gateway {
namespace {

constexpr Duration kSecond = std::chrono::seconds(1);
// Behind the second's end: what happens in its last moment is told by then.
constexpr Duration kBehind = std::chrono::milliseconds(2);
constexpr Duration kPatience = std::chrono::milliseconds(900);
constexpr Duration kLastPatience = std::chrono::milliseconds(400);
constexpr Duration kWakeAgain = std::chrono::milliseconds(50);
constexpr size_t kMaxWoken = 4096;
// Ticks behind which the plan is told again: the control plane may be another process since.
constexpr size_t kPlanAgain = 5;

bool is_good(int status) { return status >= 200 && status < 300; }
// It will not be taken at another time either.
bool is_final(int status) { return status == 400 || status == 413; }

}  // namespace

LoadReporter::LoadReporter(CurrentSnapshot snapshot, const Clock& clock,
                           std::function<void()> each_second)
    : snapshot_(std::move(snapshot)),
      clock_(clock),
      each_second_(std::move(each_second)),
      id_(new_id("gw-")) {}

LoadReporter::~LoadReporter() {
  begun_ = false;
  if (loop_) loop_->stop();
  thread_ = {};
  over_ = true;
  timer_.reset();
  client_.reset();
}

void LoadReporter::begin() {
  auto loop = net::EventLoop::create();
  if (!loop) return log_error("loads are not told: {}", loop.error().message());
  loop_ = *std::move(loop);
  client_ = std::make_unique<net::HttpClient>(net::ClientOptions{}, loop_);
  timer_ = std::make_unique<net::EventLoop::Timer>(*loop_, [this] { tick(); });
  loop_->post([this] { tick(); });
  thread_ = std::jthread([this] { loop_->run(); });
  begun_ = true;
}

void LoadReporter::end() {
  if (!begun_.exchange(false)) return;
  auto done = std::make_shared<std::latch>(1);
  loop_->post([this, done] {
    timer_->clear();
    if (!snapshot_()->plan().control) return done->count_down();
    const plan::LoadReport last{.gateway = id_, .ended = true};
    post(to_json(last), kLastPatience, [done](bool) { done->count_down(); });
  });
  done->wait();
}

void LoadReporter::wake(const std::string& upstream) {
  if (!begun_) return;
  {
    const TimePoint now = clock_.now();
    const std::lock_guard lock(mutex_);
    if (woken_.size() >= kMaxWoken) woken_.clear();
    const auto [at, first] = woken_.try_emplace(upstream, now);
    if (!first && now - at->second < kWakeAgain) return;
    at->second = now;
    wakes_.insert(upstream);
  }
  loop_->post([this] { send_wakes(); });
}

void LoadReporter::plan_taken() {
  if (begun_) loop_->post([this] { send_plan(); });
}

void LoadReporter::leave() {
  leaving_ = true;
  plan_taken();
}

void LoadReporter::tick() {
  const auto snapshot = snapshot_();
  collect(*snapshot);
  if (snapshot->plan().control) send_next();
  if (++plan_told_ago_ >= kPlanAgain) told_plan_.clear();
  send_plan();
  each_second_();
  const Duration offset = LoadMeter::unix_offset_of(clock_);
  const Duration unix_now = net::EventLoop::now().time_since_epoch() + offset;
  timer_->set(net::EventLoop::now() + kSecond - unix_now % kSecond + kBehind);
}

// Seconds that are over, of all upstreams.
void LoadReporter::collect(const Snapshot& snapshot) {
  const TimePoint now = clock_.now();
  const Duration offset = LoadMeter::unix_offset_of(clock_);
  std::map<int64_t, plan::LoadReport> reports;
  const bool wanted = snapshot.plan().control.has_value();
  for (const auto& [name, upstream] : snapshot.upstreams()) {
    upstream->look_at_places(now);
    const int usable = upstream->load()->usable();
    for (LoadMeter::Second& over : upstream->load()->take(now, offset)) {
      if (!wanted) continue;
      over.load.name = name;
      over.load.usable = usable;
      reports[over.second].upstreams.push_back(std::move(over.load));
    }
  }
  if (!wanted) unsent_.clear();
  for (auto& [second, report] : reports) {
    report.gateway = id_;
    report.second = second;
    unsent_.emplace_back(second, plan::to_json_parts(report));
  }
  // The one that is being sent stays until its answer is there.
  while (unsent_.size() > kKept + 1) unsent_.erase(unsent_.begin() + (sending_ ? 1 : 0));
}

void LoadReporter::send_next() {
  if (sending_ || unsent_.empty()) return;
  sending_ = true;
  post(unsent_.front().second.front(), kPatience, [this](bool good) {
    sending_ = false;
    if (!good || unsent_.empty()) return;  // again with the next second
    auto& parts = unsent_.front().second;
    parts.erase(parts.begin());
    if (parts.empty()) unsent_.pop_front();
    send_next();
  });
}

void LoadReporter::send_wakes() {
  if (waking_ || !snapshot_()->plan().control) return;
  plan::LoadReport report{.gateway = id_};
  {
    const std::lock_guard lock(mutex_);
    report.wake.assign(wakes_.begin(), wakes_.end());
    wakes_.clear();
  }
  if (report.wake.empty()) return;
  waking_ = true;
  // One that is not taken is followed by the second's report, which tells of those held.
  post(to_json(report), kPatience, [this](bool) {
    waking_ = false;
    send_wakes();
  });
}

// Where it is not what was told last. One that is not taken is told anew with the next tick.
void LoadReporter::send_plan() {
  const auto snapshot = snapshot_();
  if (telling_plan_ || !snapshot->plan().control) return;
  const std::string& plan_id = snapshot->plan().control->plan_id;
  if (plan_id.empty()) return;
  const plan::LoadReport report{.gateway = id_, .plan_id = leaving_ ? std::string() : plan_id};
  std::string text = to_json(report);
  if (text == told_plan_) return;
  telling_plan_ = true;
  post(text, kPatience, [this, text](bool good) {
    telling_plan_ = false;
    if (!good) return;
    told_plan_ = text;
    plan_told_ago_ = 0;
    send_plan();
  });
}

void LoadReporter::post(std::string body, Duration patience, Told told) {
  const auto snapshot = snapshot_();
  if (!snapshot->plan().control) return told(true);
  const plan::ControlPlan& control = *snapshot->plan().control;
  net::ClientRequest request{.method = "POST",
                             .url = control.url + "/internal/v1/load",
                             .headers = {{"Content-Type", "application/json"},
                                         {"Authorization", "Bearer " + control.token}},
                             .body = std::move(body),
                             .timeout = patience};
  auto status = std::make_shared<int>(0);
  client_->request(
      std::move(request),
      {.on_head = [status](int code, const net::Headers&) { *status = code; },
       .on_end =
           [this, status, told = std::move(told)](const Outcome& outcome) {
             if (over_) return;
             const bool good = outcome && is_good(*status);
             if (good) {
               warned_.clear();
             } else {
               warn(outcome ? "status " + std::to_string(*status) : outcome.error().message());
             }
             told(good || is_final(*status));
           }});
}

// Once for each reason.
void LoadReporter::warn(const std::string& why) {
  if (std::exchange(warned_, why) != why) log_warn("the load was not told: {}", why);
}

}  // namespace sluice::gateway
