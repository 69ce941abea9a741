#include "platform/outside_calls.h"

#include <fmt/format.h>

#include <utility>
#include <vector>

#include "control/scalars.h"
#include "net/address.h"
#include "net/client.h"

namespace sluice::platform {
namespace {

using std::chrono::seconds;

constexpr Duration kEvery = seconds(1);
constexpr Duration kWanted = seconds(10);  // after the last question
constexpr Duration kFresh = seconds(4);
constexpr Duration kTimeout = std::chrono::milliseconds(900);
constexpr size_t kMaxPage = 4u << 20;
constexpr size_t kMaxAnswer = 4u << 10;
constexpr size_t kMaxTargets = 1024;
constexpr size_t kMaxChecks = 4096;
constexpr size_t kShown = 200;

// An answer as it comes in; what passes `most` is cut.
struct Answer {
  int status = 0;
  std::string body;
  size_t most;

  explicit Answer(size_t limit) : most(limit) {}
};

net::ClientCallbacks into(const std::shared_ptr<Answer>& answer,
                          std::function<void(Outcome outcome)> on_end) {
  return {.on_head = [answer](int status, const net::Headers&) { answer->status = status; },
          .on_data =
              [answer](std::string_view bytes) {
                answer->body += bytes.substr(0, answer->most - answer->body.size());
              },
          .on_end = std::move(on_end)};
}

}  // namespace

SignalScraper::SignalScraper(std::function<std::string(const SignalTarget& target)> key,
                             const Clock& clock)
    : key_(std::move(key)), clock_(clock) {}

SignalScraper::~SignalScraper() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  client_.reset();
}

std::optional<ReplicaSignals> SignalScraper::latest(const SignalTarget& target) {
  const std::lock_guard lock(mutex_);
  const TimePoint now = clock_.now();
  const auto found = pages_.find(target.url);
  if (found == pages_.end()) {
    if (pages_.size() >= kMaxTargets) return std::nullopt;
    pages_.emplace(target.url, Page{.target = target, .asked = now, .told = {}, .told_at = {}});
    if (!client_) {
      client_ = std::make_unique<net::HttpClient>();
      thread_ = std::jthread([this](const std::stop_token& stop) { scrape(stop); });
    }
    changed_.notify_one();
    return std::nullopt;
  }
  Page& page = found->second;
  page.asked = now;
  return page.told && now - page.told_at < kFresh ? page.told : std::nullopt;
}

void SignalScraper::scrape(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (!stop.stop_requested()) {
    const TimePoint now = clock_.now();
    std::erase_if(pages_, [&](const auto& each) {
      return !each.second.under_way && now - each.second.asked > kWanted;
    });
    std::vector<SignalTarget> due;
    for (auto& [url, page] : pages_) {
      if (page.under_way) continue;
      page.under_way = true;
      due.push_back(page.target);
    }
    lock.unlock();
    for (const SignalTarget& target : due) ask(target);
    lock.lock();
    if (pages_.empty()) {
      changed_.wait(lock, stop, [this] { return !pages_.empty(); });
    } else {
      changed_.wait_for(lock, stop, kEvery, [] { return false; });
    }
  }
}

void SignalScraper::ask(const SignalTarget& target) {
  auto answer = std::make_shared<Answer>(kMaxPage);
  net::ClientRequest request{.url = target.url + "/metrics", .timeout = kTimeout};
  if (const std::string key = key_(target); !key.empty()) {
    request.headers.emplace_back("authorization", "Bearer " + key);
  }
  client_->request(std::move(request), into(answer, [this, answer, url = target.url](Outcome end) {
                     const bool good = end && answer->status == 200;
                     take(url, good ? parse_signals(answer->body) : std::nullopt);
                   }));
}

void SignalScraper::take(const std::string& url, const std::optional<ReplicaSignals>& told) {
  const std::lock_guard lock(mutex_);
  const auto found = pages_.find(url);
  if (found == pages_.end()) return;
  found->second.under_way = false;
  if (!told) return;
  found->second.told = told;
  found->second.told_at = clock_.now();
}

RolloutChecks::RolloutChecks(std::function<void(const control::ObjectKey& service)> done)
    : done_(std::move(done)) {}

RolloutChecks::~RolloutChecks() = default;

std::optional<RolloutInput::Check> RolloutChecks::answer(const control::ObjectKey& service,
                                                         const RolloutCheckDue& due) {
  net::HttpClient* client = nullptr;
  {
    const std::lock_guard lock(mutex_);
    if (asked_.size() >= kMaxChecks) asked_.clear();
    Asked& asked = asked_[service];
    if (asked.look == due.look) return asked.answer;
    asked = {.look = due.look, .answer = {}};
    if (!client_) {
      client_ = std::make_unique<net::HttpClient>(
          net::ClientOptions{.may_connect = net::is_service_address});
    }
    client = client_.get();
  }
  auto answer = std::make_shared<Answer>(kMaxAnswer);
  json::object body = due.body;
  body["service"] = service.name;
  body["namespace"] = service.ns;
  net::ClientRequest request{.method = "POST",
                             .url = due.url,
                             .headers = {{"content-type", "application/json"}},
                             .body = json::serialize(body),
                             .timeout = std::chrono::duration_cast<Duration>(
                                 std::chrono::duration<double>(due.timeout_seconds))};
  const auto end = [this, answer, service, look = due.look](const Outcome& outcome) {
    RolloutInput::Check check;
    check.look = look;
    check.good = outcome && answer->status == 200;
    if (!outcome) {
      check.message = outcome.error().message();
    } else if (!check.good) {
      check.message = fmt::format("it answered {}: {}", answer->status,
                                  control::printable(answer->body, kShown));
    }
    take(service, std::move(check));
  };
  client->request(std::move(request), into(answer, end));
  return std::nullopt;
}

void RolloutChecks::take(const control::ObjectKey& service, RolloutInput::Check check) {
  {
    const std::lock_guard lock(mutex_);
    const auto found = asked_.find(service);
    if (found == asked_.end() || found->second.look != check.look) return;
    found->second.answer = std::move(check);
  }
  done_(service);
}

}  // namespace sluice::platform
