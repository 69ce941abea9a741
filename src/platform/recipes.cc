#include "platform/recipes.h"

#include <fmt/format.h>

#include <utility>

#include "base/sizes.h"
#include "control/json_util.h"
#include "platform/process_sharing.h"
#include "platform/revision_spec.h"
#include "platform/runtime_choice.h"
#include "platform/views.h"

namespace sluice::platform {

using control::ObjectPtr;
using control::StoredObject;

namespace {

constexpr std::string_view kServingVersion = "serving.kserve.io/v1alpha1";

}  // namespace

Result<json::object> Recipes::revision(const StoredObject& service, const json::object& component,
                                       Component kind, const std::string& branch) const {
  ObjectPtr runtime;
  if (const auto* model = control::object_at(component, "model")) {
    const auto near =
        store_.list(*control::find_kind(kServingVersion, "ServingRuntime"), service.ns);
    const auto far = store_.list(*control::find_kind(kServingVersion, "ClusterServingRuntime"), {});
    SLUICE_ASSIGN_OR_RETURN(runtime, choose_runtime(*model, service.ns, near.objects, far.objects));
  }
  return revision_spec({.service = service.body,
                        .component = component,
                        .kind = kind,
                        .branch = branch,
                        .runtime = runtime ? &runtime->body : nullptr});
}

FindCore Recipes::finder(const std::string& ns) const {
  return [this, ns](std::string_view kind, std::string_view name) {
    return store_.get({control::find_kind("v1", kind), ns, std::string(name)});
  };
}

ModelView Recipes::model(const StoredObject& revision) const {
  return model(spec_of(revision), revision.ns);
}

ModelView Recipes::model(const json::object& revision_spec, const std::string& ns) const {
  const std::string token = storage_token(revision_spec, finder(ns));
  const std::string uri(control::text_at(revision_spec, "storageUri"));
  if (!uri.empty()) return models_(uri, token);
  ModelView all{.phase = ModelPhase::kReady, .path = {}, .error = {}};
  for (const SharedModel& each : shared_models(revision_spec)) {
    ModelView one = models_(each.storage_uri, token);
    if (one.phase == ModelPhase::kFailed) {
      one.error = fmt::format("the model {}: {}", each.name, one.error);
      return one;
    }
    all.done += one.done;
    all.total += one.total;
    if (one.phase == ModelPhase::kPulling) all.phase = ModelPhase::kPulling;
  }
  return all;
}

ModelView Recipes::loadable_model(const json::object& revision_spec, const std::string& ns,
                                  std::optional<int64_t> budget) const {
  ModelView view = model(revision_spec, ns);
  if (view.phase != ModelPhase::kReady || !options_.check_model) return view;
  const Result<int64_t> weight_bytes = checks_(view.path);
  if (!weight_bytes) {
    view.error = weight_bytes.error().message();
  } else if (budget && *weight_bytes > *budget) {
    view.error = fmt::format(
        "{}: its weights take {} of memory, and all models of the process may take {}: raise "
        "--model-memory-bytes or resources.limits.memory, or give it a process of its own",
        view.path, show_size(*weight_bytes), show_size(*budget));
  }
  if (!view.error.empty()) {
    view.phase = ModelPhase::kFailed;
    view.cannot_load = true;
  }
  return view;
}

Result<std::vector<PlacedModel>> Recipes::placed(const StoredObject& revision) const {
  const json::object& spec = spec_of(revision);
  const std::string token = storage_token(spec, finder(revision.ns));
  std::vector<PlacedModel> models;
  for (SharedModel& each : shared_models(spec)) {
    ModelView view = models_(each.storage_uri, token);
    if (view.phase != ModelPhase::kReady) {
      return fail(Code::kFailedPrecondition, fmt::format("the model {} is not here yet", each.name),
                  {}, "ModelNotReady");
    }
    models.push_back({.name = std::move(each.name), .path = std::move(view.path)});
  }
  return models;
}

Result<process::ReplicaSpec> Recipes::replica(const StoredObject& revision, std::string id,
                                              std::string model_path) const {
  const json::object& spec = spec_of(revision);
  SLUICE_ASSIGN_OR_RETURN(std::vector<PlacedModel> models, placed(revision));
  return replica_template(
      spec, {.id = std::move(id),
             .ns = revision.ns,
             .model_path = std::move(model_path),
             .models = std::move(models),
             .sluice_program = options_.sluice_program,
             .secrets = deployment_secrets(options_.master, revision.ns, revision.name),
             .predictor_host = options_.gateway + predictor_path(options_.master, revision.ns,
                                                                 control::text_at(spec, "service")),
             .find = finder(revision.ns)});
}

}  // namespace sluice::platform
