#include "gateway/unbroken_run.h"

#include <algorithm>
#include <utility>

#include "api/internal_request.h"
#include "base/rng.h"

namespace sluice::gateway {
namespace {

// A seed that the gateway gives to a request that has none: with it, whoever goes on draws the
// same numbers.
completion::Request seeded(completion::Request request) {
  if (!request.sampling.seed) request.sampling.seed = random_seed();
  return request;
}

constexpr int kMaxUnknown = 16;

bool needs_permit(AttemptReason reason) {
  return reason == AttemptReason::kRetry || reason == AttemptReason::kHedge;
}

}  // namespace

UnbrokenMinder::UnbrokenMinder(const Clock& clock)
    : clock_(clock), thread_([this](const std::stop_token& stop) { work(stop); }) {}

UnbrokenMinder::~UnbrokenMinder() {
  thread_.request_stop();
  thread_.join();
  std::unordered_set<std::shared_ptr<UnbrokenRun>> runs;
  std::deque<std::shared_ptr<UnbrokenRun>> urgent;
  const std::lock_guard lock(desk_->mutex_);
  desk_->closed_ = true;
  runs.swap(desk_->runs_);
  urgent.swap(desk_->urgent_);
}

void UnbrokenMinder::add(std::shared_ptr<UnbrokenRun> run) {
  const std::lock_guard lock(desk_->mutex_);
  desk_->runs_.insert(std::move(run));
  if (desk_->runs_.size() == 1) desk_->wake_.notify_one();
}

void UnbrokenDesk::attend(std::shared_ptr<UnbrokenRun> run) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return;
    urgent_.push_back(std::move(run));
  }
  wake_.notify_one();
}

size_t UnbrokenMinder::count() const {
  const std::lock_guard lock(desk_->mutex_);
  return desk_->runs_.size();
}

void UnbrokenMinder::cancel_all() {
  std::vector<std::shared_ptr<UnbrokenRun>> all;
  {
    const std::lock_guard lock(desk_->mutex_);
    all.assign(desk_->runs_.begin(), desk_->runs_.end());
  }
  for (const auto& run : all) {
    run->cancel();
    run->attend();
  }
}

// Runs that want something now; waits for one, but not longer than until the next look at all.
std::vector<std::shared_ptr<UnbrokenRun>> UnbrokenMinder::next(const std::stop_token& stop) {
  UnbrokenDesk& desk = *desk_;
  std::vector<std::shared_ptr<UnbrokenRun>> gone;  // destroyed behind the lock: they own sinks
  std::unique_lock lock(desk.mutex_);
  const bool idle = desk.runs_.empty();
  if (idle) {
    desk.wake_.wait(lock, stop, [&] { return !desk.runs_.empty() || !desk.urgent_.empty(); });
  }
  const Duration rest = std::max<Duration>(looked_ + kLook - clock_.now(), Duration::zero());
  desk.wake_.wait_for(lock, stop, std::min<Duration>(rest, kLook),
                      [&] { return !desk.urgent_.empty(); });
  std::vector<std::shared_ptr<UnbrokenRun>> due(desk.urgent_.begin(), desk.urgent_.end());
  desk.urgent_.clear();
  const TimePoint now = clock_.now();
  if (now - looked_ < kLook) return due;
  const bool late = !idle && now - looked_ > kLook + kLate;
  looked_ = now;
  if (late) {
    const std::vector<std::shared_ptr<UnbrokenRun>> all(desk.runs_.begin(), desk.runs_.end());
    lock.unlock();  // whoever tells a run's sink may leave word here meanwhile
    for (const auto& run : all) run->overslept();
    lock.lock();
  }
  std::erase_if(desk.runs_, [&](const std::shared_ptr<UnbrokenRun>& run) {
    if (run->over()) {
      gone.push_back(run);
      return true;
    }
    if (run->wake_at() <= now) due.push_back(run);
    return false;
  });
  return due;
}

void UnbrokenMinder::work(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    for (const auto& run : next(stop)) run->attend();
  }
}

UnbrokenRun::UnbrokenRun(const UnbrokenParts& parts, UnbrokenRoute route,
                         completion::Request request,
                         std::shared_ptr<completion::ResponseSink> sink)
    : parts_(parts),
      route_(std::move(route)),
      model_(request.model),
      sink_(std::move(sink)),
      answer_(seeded(std::move(request)), route_.rules, random_seed(), *sink_, parts_.observer,
              parts_.clock.now()),
      upstream_(route_.upstream) {}

void UnbrokenRun::settle() {
  wake_at_ = answer_.wake_at().time_since_epoch().count();
  over_ = answer_.over();
}

// Leases and streams of closed attempts; to be destroyed without the lock.
std::vector<UnbrokenRun::Use> UnbrokenRun::take_closed() {
  std::vector<Use> out;
  for (const UnbrokenAnswer::Closed& closed : answer_.take_closed()) {
    auto node = uses_.extract(closed.attempt);
    if (node.empty()) continue;
    if (route_.on_closed) route_.on_closed(closed);
    node.mapped().lease.report(closed.result);
    if (closed.first_token) node.mapped().lease.report_first_token(*closed.first_token);
    out.push_back(std::move(node.mapped()));
  }
  return out;
}

// A replica whose numerics id is wished for, or else one that nobody has asked for its id yet: it
// refuses itself if it is another one.
Result<ReplicaLease> UnbrokenRun::choose(UnbrokenAnswer::Wish wish) {
  // A new request that is tried again stays where its split sent it, while there is someone.
  std::string_view upstream = wish.fingerprint.empty() ? std::string_view(upstream_) : "";
  const auto ask = [&](std::string_view fingerprint) {
    return chooser().choose({.route = route_.name,
                             .sticky_key = route_.sticky_key,
                             .prefix = route_.prefix,
                             .excluded = wish.excluded,
                             .fingerprint = fingerprint,
                             .model = model_,
                             .upstream = upstream,
                             .headers = route_.headers,
                             .blocks = route_.blocks});
  };
  if (!upstream.empty()) {
    auto lease = ask(wish.fingerprint);
    if (lease || route_.stays) return lease;
    upstream = {};
  }
  auto lease = ask(wish.fingerprint);
  if (lease || wish.fingerprint.empty()) return lease;
  for (int i = 0; i < kMaxUnknown; ++i) {
    auto unknown = ask({});
    if (!unknown) break;
    if (unknown->replica().fingerprint.empty()) return unknown;
    wish.excluded.push_back(unknown->replica().name);
  }
  return lease;
}

void UnbrokenRun::learn(int attempt, const api::InternalEvent& event) {
  const auto* start = std::get_if<api::StartEvent>(&event);
  const auto use = uses_.find(attempt);
  if (start == nullptr || use == uses_.end()) return;
  const ReplicaInfo& replica = use->second.lease.replica();
  chooser().learn_fingerprint(replica, replica.model.empty() ? model_ : replica.model,
                              start->fingerprint);
}

// Whether the prompts' ids mean there what they mean where they were found.
bool UnbrokenRun::takes_tokens(const ReplicaInfo& replica, const std::string& model) {
  const TokenizedPrompts* found = route_.tokenized.get();
  return found != nullptr && found->upstream == replica.upstream && found->model == model &&
         !found->fingerprint.empty() &&
         chooser().known_fingerprint(replica, model) == found->fingerprint;
}

std::optional<UnbrokenRun::Opening> UnbrokenRun::next_opening(TimePoint now) {
  const UnbrokenAnswer::Wish wish = answer_.wish();
  if (needs_permit(wish.reason) && route_.permit && !route_.permit(wish.reason)) {
    answer_.not_permitted();
    return std::nullopt;
  }
  auto lease = choose(wish);
  if (lease && lease->replica().kind != ReplicaKind::kSluice) {
    lease = fail(Code::kUnimplemented, "this route's server does not speak the internal protocol");
  }
  if (!lease) {
    answer_.not_begun(lease.error(), now);
    return std::nullopt;
  }
  const int attempt = next_attempt_++;
  Opening opening;
  opening.replica = lease->replica_ptr();
  upstream_ = opening.replica->upstream;
  if (route_.on_attempt) {
    opening.traceparent = route_.on_attempt(attempt, wish.reason, *opening.replica);
  }
  completion::Request request = answer_.begin(attempt, opening.replica->name, now);
  request.model = opening.replica->model.empty() ? model_ : opening.replica->model;
  if (!request.resume && takes_tokens(*opening.replica, request.model)) {
    put_tokens(*route_.tokenized, request);
  }
  opening.body = api::write_request(request, now);
  opening.stream = std::make_shared<ReplicaStream>(attempt, weak_from_this());
  uses_.emplace(attempt, Use{*std::move(lease), opening.stream});
  return opening;
}

void UnbrokenRun::attend() {
  while (true) {
    std::vector<Use> closed;
    std::optional<Opening> opening;
    {
      const std::lock_guard lock(mutex_);
      const TimePoint now = parts_.clock.now();
      if (cancelled_) answer_.cancel();
      answer_.tick(now);
      if (answer_.wants(now)) opening = next_opening(now);
      closed = take_closed();
      settle();
    }
    for (const Use& use : closed) use.stream->close();
    if (!opening) return;
    opening->stream->open(parts_.client, *opening->replica, std::move(opening->body),
                          opening->traceparent, route_.rules.hang_after);
  }
}

void UnbrokenRun::overslept() {
  const std::lock_guard lock(mutex_);
  answer_.overslept(parts_.clock.now());
  settle();
}

// The lock may be held by whoever is telling the sink, on this very thread: only leaves word.
void UnbrokenRun::cancel() {
  if (over_ || cancelled_.exchange(true)) return;
  parts_.desk->attend(shared_from_this());
}

void UnbrokenRun::on_bytes(int attempt, std::string_view bytes, api::EventReader& reader) {
  bool attention = false;
  {
    const std::lock_guard lock(mutex_);
    const TimePoint now = parts_.clock.now();
    answer_.heard(attempt, now);
    const Outcome read = reader.feed(bytes, [&](api::InternalEvent&& event) {
      learn(attempt, event);
      answer_.on_event(attempt, std::move(event), now);
    });
    if (!read) answer_.on_end(attempt, Loss::kFailed, read.error(), now);
    settle();
    attention = answer_.has_closed() || answer_.wants(now);
  }
  if (attention) parts_.desk->attend(shared_from_this());
}

void UnbrokenRun::on_end(int attempt, Loss loss, const Status& why) {
  {
    const std::lock_guard lock(mutex_);
    answer_.on_end(attempt, loss, why, parts_.clock.now());
    settle();
  }
  parts_.desk->attend(shared_from_this());
}

}  // namespace sluice::gateway
