// Upstream: the replicas of one upstream as they are now. Discovery replaces the list; choices read
// it. A replica that stays keeps its state.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "gateway/admission.h"
#include "gateway/load_meter.h"
#include "gateway/replica_state.h"
#include "gateway/upstream_blocks.h"
#include "plan/plan.h"

namespace sluice::gateway {

using ReplicaList = std::vector<std::shared_ptr<ReplicaState>>;

// Any thread.
class Upstream {
 public:
  // The plan's endpoints are there at once.
  explicit Upstream(const plan::Upstream& settings, TlsPtr tls = {});

  // A new plan's settings. Endpoints that stay, by name and URL, keep their state.
  void configure(const plan::Upstream& settings, TlsPtr tls = {});
  // What discovery found.
  void set_endpoints(const std::vector<plan::Endpoint>& endpoints);

  std::shared_ptr<const ReplicaList> replicas() const;
  std::shared_ptr<const plan::Upstream> settings() const;
  const std::string& name() const { return name_; }

  const std::shared_ptr<LoadMeter>& load() const { return load_; }

  // Where requests wait for a replica; null: they do not. As many have a place as the replicas that
  // may be chosen can take.
  std::shared_ptr<Admission> hold() const;
  // It stands in no plan any more: who waits for it goes on, and finds that out.
  void retire();
  bool retired() const { return retired_; }
  // Whether somebody may be chosen now, and how many requests they take, may have changed.
  void look_at_places(TimePoint now);

  // What the replicas' prefix caches hold; null: no route asks. `capacity` is in blocks, 0 for
  // none; another one begins anew.
  std::shared_ptr<UpstreamBlocks> blocks() const;
  void want_blocks(size_t capacity);

  // Slots whose replica has gone since the last call; what is known of them must be forgotten.
  std::vector<size_t> take_freed_slots();

 private:
  void rebuild(const std::vector<plan::Endpoint>& endpoints);
  void configure_hold();

  const std::string name_;
  const std::shared_ptr<LoadMeter> load_ = std::make_shared<LoadMeter>();
  std::atomic<bool> retired_ = false;
  std::mutex places_mutex_;  // whoever looks last is the one whose word counts; taken first
  mutable std::mutex mutex_;
  std::shared_ptr<const plan::Upstream> settings_;
  TlsPtr tls_;
  std::shared_ptr<const ReplicaList> replicas_;
  std::shared_ptr<UpstreamBlocks> blocks_;
  std::shared_ptr<Admission> hold_;
  std::set<size_t> free_slots_;
  std::vector<size_t> freed_;
  size_t next_slot_ = 0;
};

}  // namespace sluice::gateway
