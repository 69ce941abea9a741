// ModelPool: models that are known by name and in memory only while they are asked for, as KServe's
// ModelMesh has it.
//
// A model is loaded when somebody wants it, by the one thread that loads and unloads, one at a
// time; all who want it meanwhile wait together. What is loaded takes no more than the budget: the
// least recently used models make room, but never one that somebody uses. A model whose loading
// failed is not tried again for a while.
//
// A model's file may be replaced while it is not in memory: what it takes is found out anew before
// each loading, and told by what was loaded in the end.
//
// Waiting ends in time: by the wait's limit, the request's deadline, or a cancel. Those who waited
// go on on a second thread, so that their prompts hold up no loading.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/limits.h"
#include "base/status.h"
#include "completion/backend.h"
#include "serving/served_model.h"
#include "telemetry/metrics.h"

namespace sluice::serving {

struct PoolOptions {
  int64_t memory_bytes = 0;                         // of all that is loaded
  Duration patience = std::chrono::seconds(120);    // of who waits for a model
  size_t max_waiting = limits::kMaxQueuedRequests;  // for one model
};

// A model that the pool knows.
struct PoolModel {
  std::vector<std::string> names;  // the first is shown
  completion::ModelCard card{};    // as far as it is known before
};

// What a model's file tells before it is loaded.
struct PoolNeed {
  int64_t bytes = 0;  // that it takes when it is loaded
  int max_model_len = 0;
};

// Callable from any thread.
class ModelPool {
  struct Entry;

 public:
  // A loaded model in use: it stays until this goes. Empty: none.
  class Lease {
   public:
    Lease() = default;
    Lease(Lease&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
    Lease& operator=(Lease&& other) noexcept {
      std::swap(entry_, other.entry_);
      return *this;
    }
    ~Lease();

    explicit operator bool() const { return entry_ != nullptr; }
    ServedModel& operator*() const;
    ServedModel* operator->() const { return &**this; }

   private:
    friend class ModelPool;
    explicit Lease(Entry* entry) : entry_(entry) {}
    Entry* entry_ = nullptr;
  };

  // Makes the model at `index`. Called on the loading thread. `on_idle` is for the model to call
  // whenever its last request has ended.
  using Load = std::function<Result<std::unique_ptr<ServedModel>>(size_t index,
                                                                  std::function<void()> on_idle)>;
  // What it takes, or why it could not be loaded, by its file's head: nothing else leaves for one
  // that cannot. By add(), then on the loading thread.
  using Probe = std::function<Result<PoolNeed>(size_t index)>;
  // Told once, on a thread of the pool.
  using Ready = std::function<void(Result<Lease> lease)>;

  ModelPool(PoolOptions options, Probe probe, Load load, telemetry::Metrics& metrics,
            const Clock& clock = system_clock());
  ~ModelPool();

  // Before any of the others; not thread-safe. Whether it could be loaded as it is now: it is known
  // all the same, and looked at anew when it is asked for a while later.
  Outcome add(PoolModel model);

  size_t size() const { return entries_.size(); }
  // With what is known since it was loaded first.
  completion::ModelCard card(size_t index) const;

  // Now, if it is loaded; else empty.
  Lease try_use(size_t index);
  // Once it is loaded: in memory already, or loaded now. The number is for cancel().
  Result<uint64_t> want(size_t index, TimePoint until, Ready ready);
  void cancel(uint64_t waiter);
  // Told, on a thread of the pool, when it is gone, or why it is not: it is being used.
  void unload(size_t index, std::function<void(Outcome)> done);

  // Nothing is loaded any more, whoever waits is refused, and what runs ends.
  void drain();
  bool draining() const { return draining_; }
  // Nobody uses or wants a model.
  bool idle() const;
  // Calls `look` with every model that is loaded.
  void each_loaded(const std::function<void(ServedModel&)>& look) const;
  int waiting() const;
  // Whether it is being loaded, or waits for that.
  bool loading(size_t index) const;

 private:
  enum class State { kUnloaded, kWanted, kLoading, kLoaded };
  struct Waiter {
    uint64_t id = 0;
    TimePoint until;
    Ready ready;
  };
  // What is to be told, and to whom.
  struct Start {
    Ready ready{};
    Entry* entry = nullptr;  // loaded, and in use for this start
    std::optional<Status> failure{};
  };
  struct Unloading {
    Entry* entry = nullptr;
    std::function<void(Outcome)> done{};
  };

  // All but the threads' loops under the mutex.
  void load_loop(const std::stop_token& stop);
  void start_loop(const std::stop_token& stop);
  bool probe_next(std::unique_lock<std::mutex>& lock);
  Entry* next_load(std::vector<std::unique_ptr<ServedModel>>& out);
  void load(Entry& entry, std::unique_lock<std::mutex>& lock);
  bool make_room(int64_t bytes, std::vector<std::unique_ptr<ServedModel>>& out);
  Outcome note_need(Entry& entry, const Result<PoolNeed>& need);
  void unload_asked(std::vector<std::unique_ptr<ServedModel>>& out);
  std::unique_ptr<ServedModel> take_out(Entry& entry, std::string_view why);
  bool unused(const Entry& entry) const;
  void loaded(Entry& entry, std::unique_ptr<ServedModel> made, Duration took);
  void failed(Entry& entry, const Status& why);
  void refuse_waiters(Entry& entry, const Status& why);
  void expire(TimePoint now);
  std::optional<TimePoint> first_deadline() const;
  void forget_if_unwanted(Entry& entry);
  void look_again();
  void start(Start start);
  void set_gauges() const;

  const PoolOptions options_;
  const Probe probe_;
  const Load load_;
  telemetry::Metrics& metrics_;
  const Clock& clock_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::atomic<bool> draining_ = false;

  mutable std::mutex mutex_;  // guards what follows, and the entries
  std::condition_variable_any load_wake_;
  std::condition_variable_any start_wake_;
  std::deque<Entry*> wanted_;
  std::deque<Start> starts_;
  std::deque<Unloading> unloads_;
  std::vector<std::function<void()>> told_;  // of unloading, once it is done
  int starting_ = 0;
  int64_t used_bytes_ = 0;
  uint64_t uses_ = 0;  // counts them: the order of use
  uint64_t next_waiter_ = 1;
  bool look_again_ = false;   // for the loading thread
  bool start_again_ = false;  // for the other: something to be told, or a new deadline

  std::jthread starter_;
  std::jthread loader_;
};

}  // namespace sluice::serving
