#include "platform/object_status.h"

#include <chrono>
#include <utility>

#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/views.h"

namespace sluice::platform {

using control::ObjectPtr;
using control::text_at;

namespace {

constexpr Duration kPlanLook = std::chrono::milliseconds(50);

}  // namespace

bool ObjectStatus::covers(const control::ResourceType& type) {
  return type.kind == "InferenceGraph" || type.kind == "Provider" || type.kind == "Tenant" ||
         type.kind == "ApiKey";
}

WorkDone ObjectStatus::reconcile(const control::ObjectKey& key) {
  const ObjectPtr object = context_.store().get(key);
  if (!object || object->deleting()) return WorkDone::done();
  const int64_t generation = control::integer_at(object->body, "metadata.generation").value_or(1);
  // Whether the gateway can serve it is known when a plan was made with it.
  const bool seen =
      control::integer_at(object->body, "status.observedGeneration").value_or(0) == generation;
  if (!seen && context_.plan_version() < object->version) {
    context_.queue.add({.kind = WorkKind::kPlan, .ns = {}, .name = {}});
    return WorkDone::after(kPlanLook);
  }
  json::object status;
  if (const auto* present = control::object_at(object->body, "status")) status = *present;
  status["observedGeneration"] = generation;
  const std::string problem = problem_ ? problem_(key) : std::string();
  Condition ready{.type = "Ready", .status = "True", .reason = "InPlan"};
  if (!problem.empty()) {
    ready = {.type = "Ready", .status = "False", .reason = "PlanProblem", .message = problem};
  }
  WorkDone then = WorkDone::done();
  const auto expires = control::parse_time(text_at(object->body, "spec.expires"));
  if (expires && *expires <= context_.now()) {
    ready = {.type = "Ready", .status = "False", .reason = "Expired"};
  } else if (expires) {
    then = WorkDone::after(seconds_of(*expires - context_.now()));
  }
  json::array conditions = conditions_of(*object);
  set_condition(conditions, ready, context_.now());
  status["conditions"] = std::move(conditions);
  if (key.type->kind == "InferenceGraph") {
    status["deploymentMode"] = "Standard";
    set_text(status, "url", url_ ? url_(key.ns, key.name) : std::string());
  }
  if (key.type->kind == "Tenant") {
    int64_t keys = 0;
    const auto& type = *control::find_kind("sluice.dev/v1alpha1", "ApiKey");
    for (const ObjectPtr& each : context_.store().list(type, key.ns).objects) {
      keys += text_at(each->body, "spec.tenant") == key.name ? 1 : 0;
    }
    status["keys"] = keys;
  }
  return put_status(context_, object, std::move(status), then);
}

}  // namespace sluice::platform
