#include "engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <unordered_set>
#include <utility>

#include "base/check.h"
#include "engine/core.h"

namespace sluice::engine {
namespace {

// The core on a thread of its own. What crosses threads is the inbox and a snapshot of the
// statistics, both under one mutex that is never held during a step.
class ThreadedEngine : public Engine {
 public:
  ThreadedEngine(std::vector<std::unique_ptr<Runner>> owned, Runner& runner,
                 const EngineOptions& options, OutputSink sink, const Clock& clock)
      : owned_runners_(std::move(owned)),
        max_queued_requests_(options.max_queued_requests),
        max_queued_tokens_(options.max_queued_tokens),
        clock_(clock),
        sink_(std::move(sink)),
        core_(runner, options, clock),
        snapshot_(core_.stats()),
        thread_([this] { work(); }) {}

  ~ThreadedEngine() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
      draining_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  Outcome submit(Request request) override;
  void cancel(RequestId id) override;

  void drain() override {
    const std::lock_guard lock(mutex_);
    draining_ = true;
  }

  bool idle() const override {
    const std::lock_guard lock(mutex_);
    return live_.empty();
  }

  EngineStats stats() const override;

 private:
  struct Submission {
    Request request;
    TimePoint queued;
  };
  struct Inbox {
    std::vector<Submission> submissions;
    std::vector<RequestId> cancellations;
    size_t tokens = 0;  // of the submissions' prompts
    bool empty() const { return submissions.empty() && cancellations.empty(); }
  };

  Outcome check_queue(const Request& request) const;
  void work();
  Inbox wait_for_work();
  void deliver(std::vector<StepOutput> outputs);

  const std::vector<std::unique_ptr<Runner>> owned_runners_;
  const size_t max_queued_requests_;
  const size_t max_queued_tokens_;
  const Clock& clock_;
  const OutputSink sink_;
  EngineCore core_;  // the engine thread's; others read bounds() only

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Inbox inbox_;
  std::unordered_set<RequestId> live_;  // accepted, last output not delivered
  // Requests that the core has, but has never admitted, and their tokens.
  size_t core_requests_ = 0;
  size_t core_tokens_ = 0;
  EngineStats snapshot_;
  bool draining_ = false;
  bool stopping_ = false;

  std::thread thread_;
};

Outcome ThreadedEngine::check_queue(const Request& request) const {
  if (draining_) {
    return fail(Code::kUnavailable, "the server is shutting down; try another one or again later",
                {}, "draining");
  }
  if (live_.contains(request.id)) {
    return invalid(fmt::format("a request with the id {} is live already", request.id), "id");
  }
  const size_t requests = core_requests_ + inbox_.submissions.size();
  if (requests >= max_queued_requests_) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} requests wait already, the queue takes {}; try again later",
                            requests, max_queued_requests_),
                {}, "queue_full_requests");
  }
  // A prompt longer than the bound is let into an empty queue: trying again would never help it.
  const size_t tokens = core_tokens_ + inbox_.tokens;
  if (tokens > 0 && tokens + request.prompt.size() > max_queued_tokens_) {
    return fail(Code::kResourceExhausted,
                fmt::format("{} prompt tokens wait already, with this prompt's {} the queue would "
                            "be over its {}; try again later",
                            tokens, request.prompt.size(), max_queued_tokens_),
                {}, "queue_full_tokens");
  }
  return {};
}

Outcome ThreadedEngine::submit(Request request) {
  SLUICE_RETURN_IF_ERROR(check_request(request, core_.bounds()));
  const TimePoint now = clock_.now();
  {
    const std::lock_guard lock(mutex_);
    SLUICE_RETURN_IF_ERROR(check_queue(request));
    live_.insert(request.id);
    inbox_.tokens += request.prompt.size();
    inbox_.submissions.push_back({std::move(request), now});
  }
  wake_.notify_one();
  return {};
}

void ThreadedEngine::cancel(RequestId id) {
  {
    const std::lock_guard lock(mutex_);
    if (!live_.contains(id)) return;
    inbox_.cancellations.push_back(id);
  }
  wake_.notify_one();
}

EngineStats ThreadedEngine::stats() const {
  const std::lock_guard lock(mutex_);
  EngineStats stats = snapshot_;
  stats.waiting += static_cast<int>(inbox_.submissions.size());
  stats.waiting_tokens += static_cast<int64_t>(inbox_.tokens);
  return stats;
}

// Parks while there is nothing to do.
ThreadedEngine::Inbox ThreadedEngine::wait_for_work() {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, [this] { return stopping_ || !inbox_.empty() || !core_.idle(); });
  core_requests_ += inbox_.submissions.size();
  core_tokens_ += inbox_.tokens;
  snapshot_.waiting += static_cast<int>(inbox_.submissions.size());
  snapshot_.waiting_tokens += static_cast<int64_t>(inbox_.tokens);
  return std::exchange(inbox_, {});
}

void ThreadedEngine::work() {
  bool stop = false;
  while (!stop) {
    Inbox inbox = wait_for_work();
    for (Submission& s : inbox.submissions) core_.add(std::move(s.request), s.queued);
    for (const RequestId id : inbox.cancellations) core_.cancel(id);
    {
      const std::lock_guard lock(mutex_);
      stop = stopping_ && inbox_.empty();
    }
    if (stop) core_.cancel_all();
    deliver(core_.step());
  }
}

void ThreadedEngine::deliver(std::vector<StepOutput> outputs) {
  std::vector<RequestId> finished;
  for (const StepOutput& output : outputs) {
    if (output.finish != FinishReason::kNone) finished.push_back(output.id);
  }
  {
    const std::lock_guard lock(mutex_);
    snapshot_ = core_.stats();
    core_requests_ = core_.queued_requests();
    core_tokens_ = core_.queued_tokens();
  }
  if (!outputs.empty()) sink_(std::move(outputs));
  const std::lock_guard lock(mutex_);
  for (const RequestId id : finished) live_.erase(id);
}

}  // namespace

std::unique_ptr<Engine> start_engine(Runner& runner, const EngineOptions& options, OutputSink sink,
                                     const Clock& clock) {
  return std::make_unique<ThreadedEngine>(std::vector<std::unique_ptr<Runner>>(), runner, options,
                                          std::move(sink), clock);
}

std::unique_ptr<Engine> start_engine(model::Model& model, const EngineOptions& options,
                                     OutputSink sink, const Clock& clock, model::Model* draft) {
  const model::ModelOptions& given = model.options();
  EngineOptions fitted = options;
  fitted.block_size = given.block_size;
  fitted.kv_blocks =
      options.kv_blocks > 0 ? std::min(options.kv_blocks, given.kv_blocks) : given.kv_blocks;
  fitted.max_batched_tokens = std::min(options.max_batched_tokens, given.max_batch_rows);
  fitted.max_context = model.config().context;
  for (const int bound : {given.max_context, options.max_context}) {
    if (bound > 0) fitted.max_context = std::min(fitted.max_context, bound);
  }
  std::vector<std::unique_ptr<Runner>> runners;
  runners.push_back(std::make_unique<ModelRunner>(model));
  Runner& seam = *runners.back();
  if (draft != nullptr) {
    runners.push_back(std::make_unique<ModelRunner>(*draft));
    const model::ModelOptions& its = draft->options();
    fitted.draft = {.runner = runners.back().get(),
                    .block_size = its.block_size,
                    .kv_blocks = its.kv_blocks,
                    .max_rows = its.max_batch_rows,
                    .max_context = its.max_context > 0 ? its.max_context : draft->config().context};
  }
  return std::make_unique<ThreadedEngine>(std::move(runners), seam, fitted, std::move(sink), clock);
}

}  // namespace sluice::engine
