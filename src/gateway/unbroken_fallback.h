// UnbrokenFallback: one answer of Sluice replicas that is asked for at the route's fallbacks, in
// their order, when nobody of its own upstreams gives it. While nothing of it has been told only:
// behind the first token an answer goes on where its numerics are equal, or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>

#include "base/worker_pool.h"
#include "completion/backend.h"
#include "gateway/gateway_metrics.h"
#include "gateway/snapshot.h"
#include "gateway/target.h"
#include "gateway/unbroken_backend.h"
#include "plan/plan.h"

namespace sluice::gateway {

// ReplicaChooser over one branch, whatever upstream is asked for: a fallback, or where copies go.
class BranchChooser final : public ReplicaChooser {
 public:
  // The snapshot keeps the branch.
  BranchChooser(std::shared_ptr<const Snapshot> snapshot, Target& branch)
      : snapshot_(std::move(snapshot)), branch_(branch) {}

  Result<ReplicaLease> choose(const ChooseRequest& request) override;
  void learn_fingerprint(const ReplicaInfo& replica, const std::string& model,
                         const std::string& fingerprint) override;
  std::string known_fingerprint(const ReplicaInfo& replica, const std::string& model) override;

 private:
  const std::shared_ptr<const Snapshot> snapshot_;
  Target& branch_;
};

// The workers, for as long as there are any: answers may fail until the last moment. Any thread.
class WorkerGate {
 public:
  explicit WorkerGate(WorkerPool& workers) : workers_(&workers) {}
  bool submit(std::function<void()> work);
  // Before the workers end.
  void close();

 private:
  std::mutex mutex_;
  WorkerPool* workers_;
};

// What a failure is to a route's lists of failures; nothing for one that no other server mends.
std::optional<plan::ErrorClass> error_class_of(const Status& status);

// Any thread.
class UnbrokenFallback final : public completion::Call,
                               public std::enable_shared_from_this<UnbrokenFallback> {
 public:
  struct Parts {
    UnbrokenBackend& backend;
    std::shared_ptr<WorkerGate> workers;
    GatewayMetrics& metrics;
    const Clock& clock;
    std::shared_ptr<const Snapshot> snapshot;
    const Route& route;                      // kept by the snapshot
    std::function<void()> on_fallback = {};  // told of each
    // The most tokens that the prompts may have, where they were counted.
    std::optional<int64_t> most_prompt_tokens = {};
  };

  UnbrokenFallback(Parts parts, UnbrokenRoute route, completion::Request request,
                   std::shared_ptr<completion::ResponseSink> sink);

  Outcome begin();
  void cancel() override;

 private:
  class Sink;

  // True: it is asked for elsewhere, and this failure is not to be told.
  bool goes_on(const Status& failure);
  void ask_fallback(size_t i);
  Outcome fits(const UnbrokenRoute& route) const;
  void ended();

  const Parts parts_;
  const UnbrokenRoute route_;
  const completion::Request request_;
  const std::shared_ptr<completion::ResponseSink> sink_;

  std::mutex mutex_;  // guards what follows
  std::shared_ptr<completion::Call> call_;
  size_t next_ = 0;
  bool cancelled_ = false;
  bool ended_ = false;
};

}  // namespace sluice::gateway
