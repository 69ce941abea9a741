#include "serving/model_pool.h"

#include <fmt/format.h>
#include <malloc.h>

#include <algorithm>
#include <utility>

#include "base/log.h"

namespace sluice::serving {
namespace {

// A model that could not be loaded is not tried again for so long: whoever asks meanwhile is told
// the same.
constexpr Duration kAgainAfter = std::chrono::seconds(5);
constexpr double kMiB = 1 << 20;

const telemetry::Buckets& load_buckets() {
  static const telemetry::Buckets kBuckets = {0.05, 0.1, 0.25, 0.5, 1,   2.5,
                                              5,    10,  25,   50,  100, 250};
  return kBuckets;
}

Status over_budget(const PoolModel& model, int64_t bytes, int64_t budget) {
  return {Code::kUnavailable,
          fmt::format("the model '{}' takes {:.1f} MiB, and --model-memory-bytes allows {:.1f} MiB "
                      "for all models: raise it, or lower --kv-cache-memory-bytes",
                      model.names.front(), static_cast<double>(bytes) / kMiB,
                      static_cast<double>(budget) / kMiB),
          "model", "model_too_large"};
}

Status load_failed(const PoolModel& model, const Status& why) {
  return {Code::kUnavailable,
          fmt::format("the model '{}' cannot be loaded: {}", model.names.front(), why.message()),
          "model", "model_load_failed"};
}

void count_load(telemetry::Metrics& metrics, const std::string& model, const char* result) {
  metrics
      .counter(telemetry::View::kNative, "sluice_model_loads_total",
               "Models loaded on demand, by how it went.", {{"model", model}, {"result", result}})
      .Increment();
}

Status draining_status() {
  return {Code::kUnavailable,
          "the server is shutting down; try another one or again later",
          {},
          "draining"};
}

}  // namespace

struct ModelPool::Entry {
  Entry(ModelPool& its_pool, PoolModel its_model, size_t its_index)
      : pool(its_pool), model(std::move(its_model)), index(its_index), card(model.card) {}

  ModelPool& pool;
  const PoolModel model;
  const size_t index;
  // Under the pool's mutex.
  State state = State::kUnloaded;
  completion::ModelCard card;
  int64_t bytes = 0;                    // that it takes, as far as its file has been looked at
  std::unique_ptr<ServedModel> served;  // of kLoaded
  bool probed = false;                  // of kWanted
  int in_use = 0;
  uint64_t used_at = 0;
  std::list<Waiter> waiters;
  std::optional<Status> failure;  // of the last look at its file, or loading
  TimePoint failed_at{};
};

ModelPool::Lease::~Lease() {
  if (entry_ == nullptr) return;
  ModelPool& pool = entry_->pool;
  const std::lock_guard lock(pool.mutex_);
  if (--entry_->in_use == 0) pool.look_again();
}

ServedModel& ModelPool::Lease::operator*() const { return *entry_->served; }

ModelPool::ModelPool(PoolOptions options, Probe probe, Load load, telemetry::Metrics& metrics,
                     const Clock& clock)
    : options_(options),
      probe_(std::move(probe)),
      load_(std::move(load)),
      metrics_(metrics),
      clock_(clock) {
  metrics_
      .gauge(telemetry::View::kNative, "sluice_model_memory_budget_bytes",
             "Memory that models loaded on demand may take.")
      .Set(static_cast<double>(options_.memory_bytes));
  const std::lock_guard lock(mutex_);
  set_gauges();
  starter_ = std::jthread([this](const std::stop_token& stop) { start_loop(stop); });
  loader_ = std::jthread([this](const std::stop_token& stop) { load_loop(stop); });
}

ModelPool::~ModelPool() {
  drain();
  loader_ = {};
  starter_ = {};
  for (const auto& entry : entries_) entry->served.reset();  // which still tells of its end
}

Outcome ModelPool::add(PoolModel model) {
  const auto need = probe_(entries_.size());
  const std::lock_guard lock(mutex_);
  entries_.push_back(std::make_unique<Entry>(*this, std::move(model), entries_.size()));
  Entry& entry = *entries_.back();
  Outcome good = note_need(entry, need);
  if (!good) {
    entry.failure = good.error();
    entry.failed_at = clock_.now();
  }
  return good;
}

// Mutex held. Why it cannot be loaded, if so.
Outcome ModelPool::note_need(Entry& entry, const Result<PoolNeed>& need) {
  if (!need) return std::unexpected(load_failed(entry.model, need.error()));
  entry.bytes = need->bytes;
  entry.card.max_model_len = need->max_model_len;
  if (entry.bytes <= options_.memory_bytes) return {};
  return std::unexpected(over_budget(entry.model, entry.bytes, options_.memory_bytes));
}

completion::ModelCard ModelPool::card(size_t index) const {
  const std::lock_guard lock(mutex_);
  const Entry& entry = *entries_[index];
  completion::ModelCard card = entry.card;
  card.loaded = entry.state == State::kLoaded;
  return card;
}

ModelPool::Lease ModelPool::try_use(size_t index) {
  const std::lock_guard lock(mutex_);
  Entry& entry = *entries_[index];
  if (entry.state != State::kLoaded) return {};
  ++entry.in_use;
  entry.used_at = ++uses_;
  return Lease(&entry);
}

Result<uint64_t> ModelPool::want(size_t index, TimePoint until, Ready ready) {
  const std::lock_guard lock(mutex_);
  Entry& entry = *entries_[index];
  if (draining_) return std::unexpected(draining_status());
  if (entry.failure && clock_.now() - entry.failed_at < kAgainAfter) {
    return std::unexpected(*entry.failure);
  }
  const uint64_t id = next_waiter_++;
  if (entry.state == State::kLoaded) {
    ++entry.in_use;
    entry.used_at = ++uses_;
    start({.ready = std::move(ready), .entry = &entry});
    return id;
  }
  if (entry.waiters.size() >= options_.max_waiting) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} requests wait for the model '{}' to be loaded already: try again "
                            "later",
                            entry.waiters.size(), entry.model.names.front()),
                {}, "queue_full_requests");
  }
  entry.waiters.push_back({.id = id,
                           .until = std::min(until, clock_.now() + options_.patience),
                           .ready = std::move(ready)});
  if (entry.state == State::kUnloaded) {
    entry.state = State::kWanted;
    entry.probed = false;
    wanted_.push_back(&entry);
    look_again();
  }
  start_again_ = true;  // its deadline may be the next
  start_wake_.notify_one();
  return id;
}

void ModelPool::cancel(uint64_t waiter) {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : entries_) {
    const auto found = std::ranges::find(entry->waiters, waiter, &Waiter::id);
    if (found == entry->waiters.end()) continue;
    start({.ready = std::move(found->ready),
           .failure = Status(Code::kCancelled, "nobody waits for the answer")});
    entry->waiters.erase(found);
    return forget_if_unwanted(*entry);
  }
}

void ModelPool::unload(size_t index, std::function<void(Outcome)> done) {
  const std::lock_guard lock(mutex_);
  unloads_.push_back({.entry = entries_[index].get(), .done = std::move(done)});
  look_again();
}

void ModelPool::drain() {
  const std::lock_guard lock(mutex_);
  if (draining_.exchange(true)) return;
  for (const auto& entry : entries_) {
    refuse_waiters(*entry, draining_status());
    if (entry->served) entry->served->drain();
  }
  look_again();
}

bool ModelPool::idle() const {
  const std::lock_guard lock(mutex_);
  return starts_.empty() && starting_ == 0 &&
         std::ranges::all_of(entries_, [this](const auto& entry) {
           return entry->waiters.empty() && unused(*entry);
         });
}

void ModelPool::each_loaded(const std::function<void(ServedModel&)>& look) const {
  const std::lock_guard lock(mutex_);
  for (const auto& entry : entries_) {
    if (entry->served) look(*entry->served);
  }
}

int ModelPool::waiting() const {
  const std::lock_guard lock(mutex_);
  size_t count = 0;
  for (const auto& entry : entries_) count += entry->waiters.size();
  return static_cast<int>(count);
}

bool ModelPool::loading(size_t index) const {
  const std::lock_guard lock(mutex_);
  const State state = entries_[index]->state;
  return state == State::kWanted || state == State::kLoading;
}

void ModelPool::look_again() {
  look_again_ = true;
  load_wake_.notify_one();
}

void ModelPool::start(Start start) {
  starts_.push_back(std::move(start));
  start_again_ = true;
  start_wake_.notify_one();
}

bool ModelPool::unused(const Entry& entry) const {
  return entry.in_use == 0 && (!entry.served || entry.served->idle());
}

void ModelPool::set_gauges() const {
  using telemetry::View;
  const auto loaded =
      std::ranges::count(entries_, State::kLoaded, [](const auto& entry) { return entry->state; });
  metrics_.gauge(View::kNative, "sluice_models_loaded", "Models in memory, of those on demand.")
      .Set(static_cast<double>(loaded));
  metrics_
      .gauge(View::kNative, "sluice_model_memory_bytes",
             "Memory planned for the models that are loaded on demand.")
      .Set(static_cast<double>(used_bytes_));
}

// A model that only waited to be loaded need not be, when nobody waits for it.
void ModelPool::forget_if_unwanted(Entry& entry) {
  if (entry.state != State::kWanted || !entry.waiters.empty()) return;
  entry.state = State::kUnloaded;
  std::erase(wanted_, &entry);
}

void ModelPool::refuse_waiters(Entry& entry, const Status& why) {
  for (Waiter& waiter : entry.waiters) {
    start({.ready = std::move(waiter.ready), .failure = why});
  }
  entry.waiters.clear();
  forget_if_unwanted(entry);
}

std::unique_ptr<ServedModel> ModelPool::take_out(Entry& entry, std::string_view why) {
  entry.state = State::kUnloaded;
  used_bytes_ -= entry.bytes;
  metrics_
      .counter(telemetry::View::kNative, "sluice_model_unloads_total",
               "Models that left memory: for others (evicted), or as they were told to (asked).",
               {{"model", entry.model.names.front()}, {"reason", std::string(why)}})
      .Increment();
  log_info("model '{}' leaves memory ({})", entry.model.names.front(), why);
  return std::move(entry.served);
}

// Takes the least recently used ones out, if that is enough.
bool ModelPool::make_room(int64_t bytes, std::vector<std::unique_ptr<ServedModel>>& out) {
  std::vector<Entry*> may_go;
  int64_t room = options_.memory_bytes - used_bytes_;
  for (const auto& entry : entries_) {
    if (entry->state == State::kLoaded && unused(*entry)) may_go.push_back(entry.get());
  }
  std::ranges::sort(may_go, {}, &Entry::used_at);
  size_t count = 0;
  while (room < bytes && count < may_go.size()) room += may_go[count++]->bytes;
  if (room < bytes) return false;
  for (size_t i = 0; i < count; ++i) out.push_back(take_out(*may_go[i], "evicted"));
  return true;
}

void ModelPool::unload_asked(std::vector<std::unique_ptr<ServedModel>>& out) {
  for (Unloading& asked : unloads_) {
    Entry& entry = *asked.entry;
    Outcome outcome;
    if (entry.state == State::kLoading || entry.state == State::kWanted || !unused(entry)) {
      outcome = fail(Code::kUnavailable,
                     fmt::format("the model '{}' has requests under way: try again later",
                                 entry.model.names.front()),
                     "model", "model_in_use");
    } else if (entry.state == State::kLoaded) {
      out.push_back(take_out(entry, "asked"));
    }
    told_.push_back([done = std::move(asked.done), outcome] { done(outcome); });
  }
  unloads_.clear();
}

// Looks at a file of those wanted that were not looked at yet, without the lock. False: there is
// none.
bool ModelPool::probe_next(std::unique_lock<std::mutex>& lock) {
  const auto next = std::ranges::find(wanted_, false, &Entry::probed);
  if (next == wanted_.end()) return false;
  Entry& entry = **next;
  lock.unlock();
  const auto need = probe_(entry.index);
  lock.lock();
  entry.probed = true;
  const Outcome good = note_need(entry, need);
  if (!good && entry.state == State::kWanted) failed(entry, good.error());
  return true;
}

// The first of those wanted that fits, now or without others, which are taken out.
ModelPool::Entry* ModelPool::next_load(std::vector<std::unique_ptr<ServedModel>>& out) {
  const auto next =
      std::ranges::find_if(wanted_, [&](const Entry* each) { return make_room(each->bytes, out); });
  if (next == wanted_.end()) return nullptr;
  Entry* entry = *next;
  wanted_.erase(next);
  entry->state = State::kLoading;
  used_bytes_ += entry->bytes;
  return entry;
}

void ModelPool::load_loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (load_wake_.wait(lock, stop, [this] { return look_again_; })) {
    if (stop.stop_requested()) return;
    look_again_ = false;
    while (probe_next(lock)) {
    }
    std::vector<std::unique_ptr<ServedModel>> out;
    unload_asked(out);
    // One that was loaded takes more than its file had told before.
    if (used_bytes_ > options_.memory_bytes) make_room(0, out);
    Entry* next = next_load(out);
    set_gauges();
    auto told = std::exchange(told_, {});
    lock.unlock();
    if (!out.empty()) {
      out.clear();
      ::malloc_trim(0);
    }
    for (const auto& tell : told) tell();
    told.clear();  // what they hold is not for the next load to keep
    lock.lock();
    if (next == nullptr) continue;
    load(*next, lock);
    look_again_ = true;  // another may be wanted
  }
}

// Without the lock while it is loaded.
void ModelPool::load(Entry& entry, std::unique_lock<std::mutex>& lock) {
  lock.unlock();
  const TimePoint began = clock_.now();
  auto made = load_(entry.index, [this] {
    const std::lock_guard changed(mutex_);
    look_again();
  });
  completion::ModelCard card;
  if (made) card = (*made)->card();  // waits for the weights' digest
  const Duration took = clock_.now() - began;
  lock.lock();
  used_bytes_ -= entry.bytes;
  if (made) entry.bytes = (*made)->loaded().memory_bytes();
  if (!made) {
    failed(entry, load_failed(entry.model, made.error()));
  } else if (entry.bytes > options_.memory_bytes) {
    failed(entry, over_budget(entry.model, entry.bytes, options_.memory_bytes));
  } else {
    used_bytes_ += entry.bytes;
    entry.card = std::move(card);
    loaded(entry, *std::move(made), took);
  }
  set_gauges();
  lock.unlock();
  made = nullptr;  // of one that stayed too large
  lock.lock();
}

void ModelPool::failed(Entry& entry, const Status& why) {
  count_load(metrics_, entry.model.names.front(), "failed");
  log_error("{}", why.message());
  std::erase(wanted_, &entry);
  entry.state = State::kUnloaded;
  entry.failed_at = clock_.now();
  entry.failure = why;
  refuse_waiters(entry, why);
}

void ModelPool::loaded(Entry& entry, std::unique_ptr<ServedModel> made, Duration took) {
  const std::string& name = entry.model.names.front();
  count_load(metrics_, name, "ok");
  metrics_
      .histogram(telemetry::View::kNative, "sluice_model_load_seconds",
                 "Time to load a model on demand.", load_buckets())
      .Observe(to_seconds(took));
  log_info("model '{}' is loaded, {:.2f} s", name, to_seconds(took));
  entry.failure.reset();
  entry.served = std::move(made);
  entry.state = State::kLoaded;
  entry.used_at = ++uses_;
  if (draining_) entry.served->drain();
  for (Waiter& waiter : entry.waiters) {
    ++entry.in_use;
    start({.ready = std::move(waiter.ready), .entry = &entry});
  }
  entry.waiters.clear();
}

std::optional<TimePoint> ModelPool::first_deadline() const {
  std::optional<TimePoint> first;
  for (const auto& entry : entries_) {
    for (const Waiter& waiter : entry->waiters) {
      if (!first || waiter.until < *first) first = waiter.until;
    }
  }
  return first;
}

void ModelPool::expire(TimePoint now) {
  for (const auto& entry : entries_) {
    const bool loads = entry->state == State::kLoading;
    std::erase_if(entry->waiters, [&](Waiter& waiter) {
      if (waiter.until > now) return false;
      start({.ready = std::move(waiter.ready),
             .failure = Status(
                 Code::kUnavailable,
                 fmt::format(
                     "the model '{}' {}: try again later", entry->model.names.front(),
                     loads ? "is still being loaded" : "finds no room in memory while others run"),
                 "model", loads ? "model_loading" : "no_model_memory")});
      return true;
    });
    forget_if_unwanted(*entry);
  }
}

void ModelPool::start_loop(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  while (true) {
    start_again_ = false;
    expire(clock_.now());
    while (!starts_.empty()) {
      Start next = std::move(starts_.front());
      starts_.pop_front();
      ++starting_;
      lock.unlock();
      if (next.failure) {
        next.ready(std::unexpected(*std::move(next.failure)));
      } else {
        next.ready(Lease(next.entry));
      }
      next = {};
      lock.lock();
      --starting_;
    }
    if (stop.stop_requested()) return;
    const auto woken = [this] { return start_again_; };
    if (const auto until = first_deadline()) {
      const Duration left = std::max(*until - clock_.now(), Duration(1));
      start_wake_.wait_for(lock, stop, left, woken);
    } else {
      start_wake_.wait(lock, stop, woken);
    }
  }
}

}  // namespace sluice::serving
