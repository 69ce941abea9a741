// UnbrokenRun: drives one UnbrokenAnswer over real replicas. UnbrokenMinder: the thread that opens
// their streams and minds the time of all runs.
#pragma once

#include <atomic>
#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_set>
#include <vector>

#include "base/clock.h"
#include "completion/backend.h"
#include "gateway/prompt_tokens.h"
#include "gateway/replica.h"
#include "gateway/replica_stream.h"
#include "gateway/unbroken_answer.h"
#include "net/client.h"

namespace sluice::gateway {

class UnbrokenRun;

// Where runs leave word that they want to be looked after. Any thread; outlives its minder as long
// as some run does, and drops what comes after that.
class UnbrokenDesk {
 public:
  void attend(std::shared_ptr<UnbrokenRun> run);

 private:
  friend class UnbrokenMinder;

  mutable std::mutex mutex_;  // guards what follows
  std::condition_variable_any wake_;
  std::unordered_set<std::shared_ptr<UnbrokenRun>> runs_;
  std::deque<std::shared_ptr<UnbrokenRun>> urgent_;
  bool closed_ = false;
};

// Any thread. Destroyed after every run was cancelled or is over; whoever told the end of the last
// one may still be on its way out of it.
class UnbrokenMinder {
 public:
  static constexpr std::chrono::milliseconds kLook{25};
  // A look that comes so late was held up here: the machine slept, or has too little time for us.
  static constexpr std::chrono::milliseconds kLate{500};

  explicit UnbrokenMinder(const Clock& clock);
  ~UnbrokenMinder();

  void add(std::shared_ptr<UnbrokenRun> run);
  // Runs that leave word there are looked after at once, on the minder's thread.
  const std::shared_ptr<UnbrokenDesk>& desk() const { return desk_; }
  void cancel_all();
  size_t count() const;

 private:
  void work(const std::stop_token& stop);
  std::vector<std::shared_ptr<UnbrokenRun>> next(const std::stop_token& stop);

  const Clock& clock_;
  const std::shared_ptr<UnbrokenDesk> desk_ = std::make_shared<UnbrokenDesk>();
  TimePoint looked_{};  // the thread's
  std::jthread thread_;
};

// How one answer is to be got.
struct UnbrokenRoute {
  std::string name;        // in the plan
  std::string sticky_key;  // empty: none
  std::vector<PrefixHash> prefix;
  std::vector<std::pair<std::string, std::string>> headers;  // that a split may look at
  std::string upstream = {};  // where the split sends it, when that was asked; empty: to be asked
  bool stays = false;         // there, also while nobody of it can be chosen
  std::vector<uint64_t> blocks = {};                       // there; see ChooseRequest
  std::shared_ptr<const TokenizedPrompts> tokenized = {};  // null: the prompts were not tokenized
  UnbrokenRules rules;
  // By the plan that the request came in under, so that a reload does not take its route away while
  // it runs; null: the backend's, which follows the plan in force.
  std::shared_ptr<ReplicaChooser> chooser;
  // Asked before each attempt but the first and those that resume; empty: all are permitted.
  std::function<bool(AttemptReason)> permit;
  // Told of each attempt's replica, and of its end, under the run's lock; may be empty. Gives the
  // traceparent that goes along; empty: none.
  std::function<std::string(int attempt, AttemptReason, const ReplicaInfo&)> on_attempt;
  std::function<void(const UnbrokenAnswer::Closed&)> on_closed;
};

// Shared by the runs of one backend; what is referred to outlives them.
struct UnbrokenParts {
  ReplicaChooser& chooser;
  net::HttpClient& client;
  UnbrokenObserver& observer;
  std::shared_ptr<UnbrokenDesk> desk;
  const Clock& clock;
};

// Any thread. The sink is called under the run's lock, one call at a time.
class UnbrokenRun final : public completion::Call,
                          public ReplicaStream::Listener,
                          public std::enable_shared_from_this<UnbrokenRun> {
 public:
  UnbrokenRun(const UnbrokenParts& parts, UnbrokenRoute route, completion::Request request,
              std::shared_ptr<completion::ResponseSink> sink);

  // Does what is due: closes and opens streams, looks at the time.
  void attend();
  void cancel() override;
  void overslept();
  bool over() const { return over_; }
  TimePoint wake_at() const { return TimePoint(Duration(wake_at_.load())); }

  void on_bytes(int attempt, std::string_view bytes, api::EventReader& reader) override;
  void on_end(int attempt, Loss loss, const Status& why) override;

 private:
  struct Use {
    ReplicaLease lease;
    std::shared_ptr<ReplicaStream> stream;
  };
  struct Opening {
    std::shared_ptr<ReplicaStream> stream;
    std::shared_ptr<const ReplicaInfo> replica;
    std::string body;
    std::string traceparent;
  };

  std::vector<Use> take_closed();
  ReplicaChooser& chooser() const { return route_.chooser ? *route_.chooser : parts_.chooser; }
  Result<ReplicaLease> choose(UnbrokenAnswer::Wish wish);
  void learn(int attempt, const api::InternalEvent& event);
  bool takes_tokens(const ReplicaInfo& replica, const std::string& model);
  std::optional<Opening> next_opening(TimePoint now);
  void settle();  // after whatever changed the answer, under the lock

  const UnbrokenParts parts_;
  const UnbrokenRoute route_;
  const std::string model_;
  const std::shared_ptr<completion::ResponseSink> sink_;
  std::atomic<bool> cancelled_{false};
  std::atomic<bool> over_{false};
  std::atomic<Duration::rep> wake_at_{Duration::max().count()};

  std::mutex mutex_;  // guards what follows
  UnbrokenAnswer answer_;
  std::map<int, Use> uses_;  // by attempt
  int next_attempt_ = 1;
  std::string upstream_;  // of the first attempt: the others stay there
};

}  // namespace sluice::gateway
