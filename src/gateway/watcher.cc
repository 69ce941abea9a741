#include "gateway/watcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "base/files.h"
#include "base/log.h"
#include "gateway/outliers.h"
#include "net/socket.h"
#include "plan/parse.h"

namespace sluice::gateway {
namespace {

constexpr std::chrono::milliseconds kTick{50};
// One that fails its checks, or its requests, is looked at at least this often: that it is gone, or
// back, is soon known.
constexpr Duration kLookAgain = std::chrono::milliseconds(250);
constexpr size_t kMaxAddresses = 1024;
constexpr size_t kMaxFileBytes = 1u << 20;

}  // namespace

Result<std::vector<plan::Endpoint>> discover_endpoints(const plan::Upstream& upstream) {
  if (upstream.file) {
    SLUICE_ASSIGN_OR_RETURN(const auto text, read_file(upstream.file->path, kMaxFileBytes));
    return plan::parse_endpoints(text, upstream.file->path);
  }
  SLUICE_ASSIGN_OR_RETURN(const auto addresses,
                          net::resolve(upstream.dns->name, upstream.dns->port));
  const std::string scheme = upstream.tls ? "https://" : "http://";
  std::vector<plan::Endpoint> endpoints;
  for (const net::SocketAddress& address : addresses) {
    const std::string text = net::address_text(address);
    const bool known = std::ranges::any_of(
        endpoints, [&](const plan::Endpoint& endpoint) { return endpoint.name == text; });
    if (known) continue;
    if (endpoints.size() == kMaxAddresses) break;
    endpoints.push_back({.name = text, .url = scheme + text});
  }
  // The order of answers changes from one to the next.
  std::ranges::sort(endpoints, {}, &plan::Endpoint::name);
  return endpoints;
}

Watcher::Watcher(net::EventLoop& loop, net::HttpClient& client, WorkerPool& workers,
                 CurrentSnapshot snapshot, const Clock& clock)
    : loop_(loop),
      client_(client),
      workers_(workers),
      snapshot_(std::move(snapshot)),
      clock_(clock),
      timer_(loop, [this] { tick(); }),
      blocks_(client, clock) {}

void Watcher::begin() { tick(); }

void Watcher::end() {
  ended_ = true;
  timer_.disarm();
  blocks_.end();
}

void Watcher::tick() {
  if (ended_) return;
  const auto snapshot = snapshot_();
  const TimePoint now = clock_.now();
  if (std::exchange(seen_, snapshot) != snapshot) look_at(*snapshot);
  for (const auto& upstream : awake_) {
    const std::string& name = upstream->name();
    const auto settings = upstream->settings();
    forget_freed(*snapshot, upstream);
    // A breaker or a pause ends without anybody telling.
    if (const auto hold = upstream->hold(); hold && hold->waiting() > 0) {
      upstream->look_at_places(now);
    }
    Due& due = due_[name];
    if (settings->health.active && now >= due.check) {
      due.check = now + settings->health.interval;
      due.check_again = now + kLookAgain;
      check(upstream, *settings, false);
    } else if (settings->health.active && now >= due.check_again) {
      due.check_again = now + kLookAgain;
      check(upstream, *settings, true);
    }
    if (now >= due.outliers) {
      if (due.outliers != TimePoint{}) find_outliers_of(*upstream, *settings);
      due.outliers = now + settings->outlier.interval;
    }
    if ((settings->dns || settings->file) && now >= due.discovery && !due.discovering) {
      due.discovering = true;
      discover(upstream, settings);
    }
  }
  blocks_.tick(*snapshot);
  timer_.set(net::EventLoop::now() + kTick);
}

// There may be a thousand that sleep, and are woken by the next plan only.
void Watcher::look_at(const Snapshot& snapshot) {
  awake_.clear();
  for (const auto& [name, upstream] : snapshot.upstreams()) {
    forget_freed(snapshot, upstream);
    const auto settings = upstream->settings();
    const bool sleeps = upstream->replicas()->empty() && !settings->dns && !settings->file;
    if (!sleeps) awake_.push_back(upstream);
  }
  std::erase_if(due_, [&](const auto& due) { return !snapshot.upstreams().contains(due.first); });
}

void Watcher::forget_freed(const Snapshot& snapshot, const std::shared_ptr<Upstream>& upstream) {
  const auto freed = upstream->take_freed_slots();
  if (freed.empty()) return;
  for (const auto& route : snapshot.routes()) {
    for (const auto& target : route->targets()) {
      if (!target->index() || target->upstream_ptr() != upstream) continue;
      for (const size_t slot : freed) target->index()->forget(slot);
    }
  }
}

void Watcher::check(const std::shared_ptr<Upstream>& upstream, const plan::Upstream& settings,
                    bool only_suspect) {
  for (const auto& replica : *upstream->replicas()) {
    if (!only_suspect || replica->suspect()) check_replica(upstream, replica, settings);
  }
}

void Watcher::check_replica(const std::shared_ptr<Upstream>& upstream,
                            const std::shared_ptr<ReplicaState>& replica,
                            const plan::Upstream& settings) {
  if (!replica->begin_check()) return;
  struct Seen {
    int status = 0;
  };
  auto seen = std::make_shared<Seen>();
  net::ClientRequest request;
  request.url = replica->info().url + settings.health.path;
  request.host = settings.host;
  request.tls = replica->info().tls;
  request.tls_name = replica->info().tls_name;
  request.timeout = settings.health.timeout;
  // A kept connection is that of a process that may hang; a new one also asks the listener.
  request.headers = {{"Connection", "close"}};
  request.headers.insert(request.headers.end(), settings.headers.begin(), settings.headers.end());
  if (!settings.api_key.empty()) {
    request.headers.emplace_back("Authorization", "Bearer " + settings.api_key);
  }
  client_.request(
      std::move(request),
      {.on_head = [seen](int status, const net::Headers&) { seen->status = status; },
       .on_end =
           [seen, upstream, replica, &clock = clock_](const Outcome& outcome) {
             // What this process has too little of says nothing of the replica. A name that nobody
             // knows does: no request could be sent there either.
             if (!outcome && outcome.error().reason() == net::kNotSent) {
               return replica->skip_check();
             }
             const bool good = outcome && seen->status >= 200 && seen->status < 300;
             const bool was = replica->healthy();
             const bool first = !replica->checked();
             replica->on_check(good, clock.now());
             upstream->look_at_places(clock.now());
             if (was == replica->healthy() && !(first && !good)) return;
             log_info(
                 "replica {} of {} {}", replica->info().name, replica->info().upstream,
                 good ? "is healthy"
                      : fmt::format("fails its check ({})", outcome ? std::to_string(seen->status)
                                                                    : outcome.error().message()));
           }});
}

void Watcher::find_outliers_of(Upstream& upstream, const plan::Upstream& settings) {
  const auto replicas = upstream.replicas();
  const TimePoint now = clock_.now();
  std::vector<ReplicaSample> samples;
  for (const auto& replica : *replicas) samples.push_back(replica->take_sample(now));
  for (const size_t i : find_outliers(samples, settings.outlier)) {
    (*replicas)[i]->eject_until(now + settings.outlier.eject_for);
    log_warn("replica {} of {} is ejected: {} of {} requests failed, first byte after {:.3f} s",
             (*replicas)[i]->info().name, upstream.name(), samples[i].failures, samples[i].requests,
             to_seconds(samples[i].mean_first_token));
  }
}

void Watcher::discover(const std::shared_ptr<Upstream>& upstream,
                       const std::shared_ptr<const plan::Upstream>& settings) {
  const auto done = [this, weak = weak_from_this(), upstream,
                     settings](const Result<std::vector<plan::Endpoint>>& found) {
    const auto alive = weak.lock();
    if (!alive || ended_) return;
    Due& due = due_[upstream->name()];
    due.discovering = false;
    due.discovery =
        clock_.now() + (settings->dns ? settings->dns->refresh : settings->file->refresh);
    if (!found) {
      // What was known stays: a name server that is down takes no replicas away.
      log_warn("upstream {}: {}", upstream->name(), found.error().message());
    } else if (found->empty()) {
      log_warn("upstream {}: no address was found; what was known stays", upstream->name());
    } else {
      upstream->set_endpoints(*found);
    }
  };
  const Outcome queued = workers_.submit([&loop = loop_, weak = weak_from_this(), settings, done] {
    auto found = discover_endpoints(*settings);
    // The loop lives as long as the pool does.
    loop.post([done, found = std::move(found)] { done(found); });
  });
  if (!queued) due_[upstream->name()].discovering = false;
}

}  // namespace sluice::gateway
