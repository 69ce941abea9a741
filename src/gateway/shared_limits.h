// SharedLimits: limits of tenants and keys counted in Redis, for several gateways together.
//
// reserve() and settle() are what Budget does, as one script each (shared_limits_scripts.h), on a
// thread of its own with one connection. What is reserved belongs to this gateway and is held by a
// lease that it renews; when it dies, what was open counts as spent and its places become free.
// Every question is answered within four timeouts of Redis; without a connection at once.
// Thread-safe.
#pragma once

#include <cstdint>
#include <expected>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "gateway/budget.h"
#include "gateway/ledger.h"
#include "plan/plan.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

class SharedLimits {
  struct Impl;

 public:
  // Whom a request counts for. Subjects without a limit are left out.
  struct Payer {
    std::string tenant;
    std::string key;
    std::optional<plan::Limits> tenant_limits = {};
    std::optional<plan::Limits> key_limits = {};
  };

  // A reservation. Given back as unused if nobody settles it. May outlive what made it.
  class Hold {
   public:
    Hold(std::shared_ptr<Impl> owner, std::string tenant, std::string id)
        : owner_(std::move(owner)), tenant_(std::move(tenant)), id_(std::move(id)) {}
    ~Hold() { settle({}); }
    Hold(const Hold&) = delete;
    Hold& operator=(const Hold&) = delete;

    void settle(const Amount& used);  // once; later calls change nothing

   private:
    const std::shared_ptr<Impl> owner_;
    const std::string tenant_;
    const std::string id_;
    bool settled_ = false;
  };

  struct Granted {
    std::shared_ptr<Hold> hold;
    Ledger::MinuteLeft left;
  };
  struct Denied {
    // A refusal by a limit; or a failure: Redis could not be asked.
    Ledger::Denial denial;
    Ledger::MinuteLeft left = {};
  };
  using Answer = std::expected<Granted, Denied>;

  // Waits for the first attempt to connect, which may fail. Fails where TLS files cannot be read.
  static Result<std::unique_ptr<SharedLimits>> open(const plan::RedisPlan& plan,
                                                    telemetry::Metrics& metrics);
  // What is still to be settled is, if Redis answers within its timeout.
  ~SharedLimits();
  SharedLimits(const SharedLimits&) = delete;
  SharedLimits& operator=(const SharedLimits&) = delete;

  // `done` is called once, on this object's thread: it must not block.
  void reserve(Payer payer, const Amount& most, std::function<void(Answer)> done);
  // The same for whoever may wait.
  Answer reserve_now(Payer payer, const Amount& most);

  // What was used while Redis could not be asked: charged when it can be again.
  void charge(const Payer& payer, const Amount& used);

  bool up() const;

 private:
  explicit SharedLimits(std::shared_ptr<Impl> impl);
  const std::shared_ptr<Impl> impl_;
};

}  // namespace sluice::gateway
