// PlanKeeper: keeps the gateway's plan as the objects are: gathers them for write_plan(), hands the
// text on where it differs, and knows what of it the gateways have taken.
//
// Many changes at once make one plan: the next is not begun before three times as long as the last
// took. On the queue's thread, but for version().
#pragma once

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <set>
#include <string>

#include "control/object_store.h"
#include "platform/context.h"
#include "platform/plan_writer.h"

namespace sluice::platform {

class PlanKeeper {
 public:
  // Puts a plan in force; whether it differed from the one before.
  using Publish = std::function<Result<bool>(const PlanText& plan)>;

  // The ids of the plans by which the gateways that live and take requests answer them.
  using Taken = std::function<std::set<std::string>()>;

  PlanKeeper(Context& context, PlanSettings settings, Publish publish, Taken taken)
      : context_(context),
        settings_(std::move(settings)),
        publish_(std::move(publish)),
        taken_(std::move(taken)) {}

  // Makes the plan.
  WorkDone work();
  // A gateway may have taken it.
  WorkDone look_at_gateways();

  // The objects' version that the plan of every gateway follows. It does not go back; without any
  // gateway it stays.
  uint64_t version() const { return version_.load(); }
  // Whether no gateway goes by a plan that does not follow this version; also where there is none.
  bool none_behind(uint64_t version) const;
  // Whether every gateway has a route for this service.
  bool in_force(const control::ObjectKey& service) const;
  // Why the gateway cannot serve this object; empty: it can.
  std::string problem(const control::ObjectKey& object) const;

 private:
  struct Published {
    std::string id;
    uint64_t version = 0;  // the newest that it follows
  };

  PlanInput gather() const;
  void note(const PlanText& plan, uint64_t version);
  void tell_problems(const PlanText& plan);

  Context& context_;
  const PlanSettings settings_;
  const Publish publish_;
  const Taken taken_;
  std::atomic<uint64_t> version_{0};
  std::deque<Published> published_;                      // the last ones
  std::map<control::ObjectKey, uint64_t> routed_since_;  // services in the plan: from which version
  TimePoint not_before_{};
  std::string failure_;  // of the last attempt
  std::map<control::ObjectKey, std::string> problems_;
};

}  // namespace sluice::platform
