// PlanKeeper: keeps the gateway's plan as the objects are: gathers them for write_plan() and hands
// the text on where it differs.
//
// Many changes at once make one plan: the next is not begun before three times as long as the last
// took. work() on the queue's thread, the rest from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <string>

#include "control/object_store.h"
#include "platform/context.h"
#include "platform/plan_writer.h"

namespace sluice::platform {

class PlanKeeper {
 public:
  // Puts a plan in force; whether it differed from the one before.
  using Publish = std::function<Result<bool>(const PlanText& plan)>;

  PlanKeeper(Context& context, PlanSettings settings, Publish publish)
      : context_(context), settings_(std::move(settings)), publish_(std::move(publish)) {}

  WorkDone work();

  // The objects' version that the plan in force follows.
  uint64_t version() const { return version_.load(); }
  // Why the gateway cannot serve this object; empty: it can.
  std::string problem(const control::ObjectKey& object) const;

 private:
  PlanInput gather() const;
  void tell_problems(const PlanText& plan);

  Context& context_;
  const PlanSettings settings_;
  const Publish publish_;
  std::atomic<uint64_t> version_{0};
  TimePoint not_before_{};
  std::string failure_;  // of the last attempt
  std::map<control::ObjectKey, std::string> problems_;
};

}  // namespace sluice::platform
