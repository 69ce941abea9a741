// Admission: how many requests of a route run at a time, and who waits for a place.
//
// The queue is bounded. Places go to the highest priority; within one, to the tenant that had the
// least for its weight (start-time fair queuing, one unit for each request); within a tenant, in
// the order of arrival.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Any thread. Kept by shared_ptr: permits refer to it.
class Admission : public std::enable_shared_from_this<Admission> {
 public:
  // A place; given back at its end. Move-only.
  class Permit {
   public:
    Permit() = default;
    explicit Permit(std::shared_ptr<Admission> owner) : owner_(std::move(owner)) {}
    Permit(Permit&& other) noexcept = default;
    Permit& operator=(Permit&& other) noexcept {
      std::swap(owner_, other.owner_);
      return *this;
    }
    ~Permit() {
      if (owner_) owner_->leave();
    }

   private:
    std::shared_ptr<Admission> owner_;
  };

  // Called once, on the thread of whoever left, when the place is there.
  using Granted = std::function<void(Permit)>;

  struct Asker {
    std::string tenant;
    int priority = 0;
    double weight = 1;
  };

  explicit Admission(plan::Queue settings) : settings_(settings) {}
  void configure(const plan::Queue& settings);
  // A bound besides the queue's max_concurrent, which changes as servers come and go; below 0:
  // none. Any number of those that run already may be above it.
  void set_places(int places);
  // A place if there is one and nobody waits for it.
  std::optional<Permit> try_enter();

  // 0: admitted, `granted` was called already. Otherwise a ticket that waits. kResourceExhausted
  // when the queue is full.
  Result<uint64_t> ask(const Asker& asker, Granted granted);
  // False when the place was given already (or never waited for).
  bool withdraw(uint64_t ticket);

  int running() const;
  int waiting() const;

 private:
  struct Order {
    int priority;  // negated: the highest first
    double start;  // virtual
    uint64_t ticket;
    auto operator<=>(const Order&) const = default;
  };
  void leave();
  bool room() const;
  std::vector<Granted> take_ready();

  mutable std::mutex mutex_;
  plan::Queue settings_;
  int places_ = -1;
  int running_ = 0;
  uint64_t next_ticket_ = 1;
  double virtual_time_ = 0;
  std::map<Order, Granted> queue_;
  std::map<uint64_t, Order> tickets_;
  std::map<std::string, double, std::less<>> finish_;  // by tenant; only while it has requests here
};

}  // namespace sluice::gateway
