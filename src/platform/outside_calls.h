// What the platform asks of others by HTTP: metrics of replicas, external checks of a rollout.
//
// SignalScraper asks each replica that somebody wants to know about once a second, and stops ten
// seconds after the last question. RolloutChecks sends each check once and keeps its answer until
// the next look of the same service. Any thread; no call waits. Each owns one thread for its
// connections, begun when it is first needed; the scraper one more.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "control/object_store.h"
#include "platform/replica_signals.h"
#include "platform/rollout.h"

namespace sluice::net {
class HttpClient;
}

namespace sluice::platform {

class SignalScraper : public SignalSource {
 public:
  // `key`: what opens the page of a revision's replicas; empty: nothing does.
  explicit SignalScraper(std::function<std::string(const SignalTarget& target)> key,
                         const Clock& clock = system_clock());
  ~SignalScraper() override;

  std::optional<ReplicaSignals> latest(const SignalTarget& target) override;

 private:
  struct Page {
    SignalTarget target;
    TimePoint asked;  // about it
    bool under_way = false;
    std::optional<ReplicaSignals> told;
    TimePoint told_at;
  };

  void scrape(const std::stop_token& stop);
  void ask(const SignalTarget& target);
  void take(const std::string& url, const std::optional<ReplicaSignals>& told);

  const std::function<std::string(const SignalTarget& target)> key_;
  const Clock& clock_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable_any changed_;
  std::map<std::string, Page> pages_;  // by URL
  std::unique_ptr<net::HttpClient> client_;
  std::jthread thread_;
};

class RolloutChecks {
 public:
  // `done` is told, on a thread of its own, when a service's check has an answer.
  explicit RolloutChecks(std::function<void(const control::ObjectKey& service)> done);
  ~RolloutChecks();

  std::optional<RolloutInput::Check> answer(const control::ObjectKey& service,
                                            const RolloutCheckDue& due);

 private:
  struct Asked {
    int64_t look = -1;
    std::optional<RolloutInput::Check> answer;
  };

  void take(const control::ObjectKey& service, RolloutInput::Check check);

  const std::function<void(const control::ObjectKey& service)> done_;
  std::mutex mutex_;  // guards what follows
  std::map<control::ObjectKey, Asked> asked_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace sluice::platform
