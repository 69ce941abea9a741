// InferenceService and the runtimes.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>

#include "control/admission.h"
#include "control/json_util.h"
#include "control/schedule.h"

namespace sluice::control {
namespace {

struct Scheme {
  std::string_view prefix;
  bool accepted;
};
constexpr std::array kSchemes = {
    Scheme{"file://", true},        Scheme{"pvc://", true},         Scheme{"https://", true},
    Scheme{"hf://", true},          Scheme{"s3://", false},         Scheme{"gs://", false},
    Scheme{"oci://", false},        Scheme{"http://", false},       Scheme{"hdfs://", false},
    Scheme{"webhdfs://", false},    Scheme{"oci+native://", false}, Scheme{"oci+fetch://", false},
    Scheme{"modelscope://", false},
};

void check_storage(Admission& admission, const json::object& model, const std::string& field) {
  const json::value* stated = model.if_contains("storageUri");
  if (stated == nullptr || !stated->is_string()) return;
  const std::string_view uri = stated->get_string();
  for (const Scheme& scheme : kSchemes) {
    if (!uri.starts_with(scheme.prefix)) continue;
    if (scheme.accepted && uri.size() > scheme.prefix.size()) return;
    if (scheme.accepted) {
      return admission.refuse("FieldValueInvalid", field,
                              fmt::format("\"{}\": nothing stands behind the scheme", uri));
    }
    return admission.refuse(
        "FieldValueNotSupported", field,
        fmt::format("\"{}\": {} is not supported yet; bring the model by `sluice pull` and use "
                    "file://, or use pvc://, https:// or hf://",
                    uri.substr(0, 200), scheme.prefix));
  }
  if (uri.starts_with('/')) return;
  admission.refuse("FieldValueInvalid", field,
                   fmt::format("\"{}\": expected file:///path, pvc://claim/path, "
                               "https://host/file.gguf or hf://owner/model[:revision]",
                               uri.substr(0, 200)));
}

void check_replicas(Admission& admission, const json::object& component, const std::string& field) {
  const auto min = integer_at(component, "minReplicas");
  const auto max = integer_at(component, "maxReplicas");
  if (min && max && *max != 0 && *min > *max) {
    admission.refuse("FieldValueInvalid", field + ".maxReplicas",
                     fmt::format("{}: must be at least minReplicas, which is {}", *max, *min));
  }
  if (component.contains("scaleTarget") && !component.contains("scaleMetric")) {
    admission.warn(
        fmt::format("{}.scaleTarget is read as concurrency: scaleMetric is not given", field));
  }
}

ApiOutcome check_component(Admission& admission, const json::object& component,
                           const std::string& field) {
  check_replicas(admission, component, field);
  check_labels(admission, object_at(component, "labels"), field + ".labels");
  check_annotations(admission, object_at(component, "annotations"), field + ".annotations");
  const auto* containers = array_at(component, "containers");
  if (containers != nullptr) {
    SLUICE_RETURN_IF_ERROR(check_containers(admission, *containers, field + ".containers"));
  }
  return {};
}

// What only a predictor has a use for.
void warn_predictors_fields(Admission& admission, const json::object& component,
                            const std::string& field) {
  for (const std::string_view name :
       {"containerConcurrency", "timeout", "canaryTrafficPercent", "logger", "batcher"}) {
    if (!component.contains(name)) continue;
    admission.warn(fmt::format("{}.{} has no effect: only the predictor's counts", field, name));
  }
}

ApiOutcome check_predictor(Admission& admission, const json::object& predictor,
                           const std::string& field) {
  SLUICE_RETURN_IF_ERROR(check_component(admission, predictor, field));
  const auto* model = object_at(predictor, "model");
  const auto* containers = array_at(predictor, "containers");
  const bool has_containers = containers != nullptr && !containers->empty();
  if (model == nullptr && !has_containers) {
    admission.refuse("FieldValueRequired", field,
                     "exactly one of model and containers: give model with modelFormat.name and "
                     "storageUri");
  }
  if (model != nullptr && has_containers && containers->size() == 1) {
    const auto* beside = containers->front().if_object();
    if (beside != nullptr && text_at(*beside, "name") != "kserve-container") {
      admission.warn(
          fmt::format("{}.containers[0] is not run: beside a model only the container "
                      "kserve-container counts, which changes the runtime's",
                      field));
    }
  }
  if (model != nullptr) {
    check_storage(admission, *model, field + ".model.storageUri");
    SLUICE_RETURN_IF_ERROR(check_container(admission, *model, field + ".model"));
    if (!model->contains("storageUri")) {
      admission.warn(fmt::format(
          "{}.model.storageUri is not given: the runtime must know its model by itself", field));
    }
  }
  return {};
}

void check_logger(Admission& admission, const json::object& predictor) {
  const auto* logger = object_at(predictor, "logger");
  if (logger == nullptr) return;
  const std::string_view url = text_at(*logger, "url");
  if (url.empty()) {
    return admission.warn("spec.predictor.logger has no effect: it names no url");
  }
  if (url.starts_with("http://") || url.starts_with("https://")) return;
  admission.refuse("FieldValueInvalid", "spec.predictor.logger.url",
                   fmt::format("\"{}\": expected the http:// or https:// URL of a service that "
                               "takes CloudEvents",
                               url));
}

ApiOutcome check_canaries(Admission& admission, const json::object& spec) {
  const auto* canaries = array_at(spec, "canary");
  if (canaries == nullptr) return {};
  int64_t sum = 0;
  std::set<std::string_view> names;
  for (size_t i = 0; i < canaries->size(); ++i) {
    const auto* canary = (*canaries)[i].if_object();
    if (canary == nullptr) continue;
    const std::string field = fmt::format("spec.canary[{}]", i);
    sum += integer_at(*canary, "trafficPercent").value_or(0);
    const auto* predictor = object_at(*canary, "predictor");
    if (predictor == nullptr) continue;
    if (text_at(*predictor, "name").empty() && text_at(*canary, "name").empty()) {
      admission.refuse("FieldValueRequired", field + ".predictor.name",
                       "a canary has a name, which the predictor takes when it is promoted");
    }
    const std::string_view own = text_at(*canary, "name");
    const std::string_view name = own.empty() ? text_at(*predictor, "name") : own;
    if (!name.empty() && !names.insert(name).second) {
      admission.refuse("FieldValueDuplicate", field + ".name",
                       fmt::format("\"{}\": another canary has this name", name));
    }
    for (const std::string_view scaling : {"scaleTarget", "scaleMetric", "maxReplicas"}) {
      if (predictor->contains(scaling)) {
        admission.refuse("FieldValueForbidden", fmt::format("{}.predictor.{}", field, scaling),
                         "a canary has a fixed number of replicas: minReplicas, or its part of the "
                         "stable one's");
      }
    }
    for (const std::string_view shared : {"logger", "batcher"}) {
      if (!predictor->contains(shared)) continue;
      admission.warn(fmt::format(
          "{}.predictor.{} has no effect: that of spec.predictor counts for all branches", field,
          shared));
    }
    SLUICE_RETURN_IF_ERROR(check_predictor(admission, *predictor, field + ".predictor"));
  }
  if (sum > 100) {
    admission.refuse(
        "FieldValueInvalid", "spec.canary",
        fmt::format("the trafficPercent of all canaries is {} together: at most 100", sum));
  }
  if (canaries->empty() || find_path(spec, "predictor.canaryTrafficPercent") == nullptr) return {};
  admission.refuse("FieldValueForbidden", "spec.predictor.canaryTrafficPercent",
                   "either this or spec.canary splits the traffic, not both");
  return {};
}

void check_rollout(Admission& admission, const json::object& spec) {
  const std::string_view strategy = text_at(spec, "sluice.rollout.strategy");
  const bool by_hand = find_path(spec, "predictor.canaryTrafficPercent") != nullptr;
  if (by_hand && object_at(spec, "sluice.rollout") != nullptr && strategy != "Manual") {
    admission.warn(
        "spec.sluice.rollout has no effect while spec.predictor.canaryTrafficPercent is given");
  }
  if (strategy == "Manual" || strategy == "Recreate") {
    for (const std::string_view name : {"steps", "analysis", "autoRollback"}) {
      if (find_path(spec, fmt::format("sluice.rollout.{}", name)) == nullptr) continue;
      if (name == "autoRollback" && strategy == "Recreate") continue;
      admission.warn(
          fmt::format("spec.sluice.rollout.{} has no effect with the strategy {}", name, strategy));
    }
  }
  const auto* steps = array_at(spec, "sluice.rollout.steps");
  int64_t last = -1;
  for (size_t i = 0; steps != nullptr && i < steps->size(); ++i) {
    const auto* step = (*steps)[i].if_object();
    const int64_t weight = step == nullptr ? 0 : integer_at(*step, "weight").value_or(0);
    if (weight <= last) {
      admission.refuse(
          "FieldValueInvalid", fmt::format("spec.sluice.rollout.steps[{}].weight", i),
          fmt::format("{}: must be above the step before, which has {}", weight, last));
    }
    last = weight;
  }
}

// A service that shares its process changes, splits and fronts nothing of its own.
void check_sharing(Admission& admission, const json::object& spec) {
  if (!true_at(spec, "sluice.shareProcess")) return;
  if (const SharingObstacle* obstacle = sharing_obstacle(spec)) {
    admission.warn(fmt::format("spec.sluice.shareProcess has no effect beside spec.{}: {}",
                               obstacle->field, obstacle->why));
  }
  if (object_at(spec, "predictor.model") == nullptr) {
    admission.warn(
        "spec.sluice.shareProcess has no effect without spec.predictor.model: models are shared, "
        "not containers");
  }
}

void check_schedules(Admission& admission, const json::object& spec) {
  const auto* schedules = array_at(spec, "sluice.scaling.schedules");
  for (size_t i = 0; schedules != nullptr && i < schedules->size(); ++i) {
    const auto* schedule = (*schedules)[i].if_object();
    if (schedule == nullptr) continue;
    const std::string field = fmt::format("spec.sluice.scaling.schedules[{}]", i);
    for (const std::string name : {"from", "to"}) {
      const std::string_view text = text_at(*schedule, name);
      if (parse_minutes(text) >= 0) continue;
      admission.refuse("FieldValueInvalid", fmt::format("{}.{}", field, name),
                       fmt::format("\"{}\": expected a time of the day, such as \"07:30\"", text));
    }
    const std::string_view days = text_at(*schedule, "days");
    if (!days.empty() && parse_days(days) == 0) {
      admission.refuse("FieldValueInvalid", field + ".days",
                       fmt::format("\"{}\": expected days such as Mon-Fri or Sat,Sun", days));
    }
  }
}

}  // namespace

const SharingObstacle* sharing_obstacle(const json::object& service_spec) {
  const auto* found = std::ranges::find_if(kSharingObstacles, [&](const SharingObstacle& each) {
    const json::value* value = find_path(service_spec, each.field);
    if (value == nullptr || value->is_null()) return false;
    return !value->is_array() || !value->get_array().empty();
  });
  return found == kSharingObstacles.end() ? nullptr : found;
}

ApiOutcome admit_inference_service(Admission& admission) {
  const auto* spec = object_at(admission.object, "spec");
  if (spec == nullptr) return {};
  if (const auto* predictor = object_at(*spec, "predictor"); predictor != nullptr) {
    SLUICE_RETURN_IF_ERROR(check_predictor(admission, *predictor, "spec.predictor"));
    check_logger(admission, *predictor);
  }
  for (const std::string name : {"transformer", "explainer"}) {
    const auto* component = object_at(*spec, name);
    if (component == nullptr) continue;
    const std::string field = "spec." + name;
    SLUICE_RETURN_IF_ERROR(check_component(admission, *component, field));
    warn_predictors_fields(admission, *component, field);
    if (name == "transformer" && !component->contains("containers") &&
        !component->contains("sluice")) {
      admission.refuse("FieldValueRequired", field,
                       "one of containers and sluice (templates, or the url of a service)");
    }
  }
  check_rollout(admission, *spec);
  check_sharing(admission, *spec);
  check_schedules(admission, *spec);
  return check_canaries(admission, *spec);
}

ApiOutcome admit_runtime(Admission& admission) {
  const auto* spec = object_at(admission.object, "spec");
  const auto* containers = spec == nullptr ? nullptr : array_at(*spec, "containers");
  if (containers == nullptr) return {};
  check_labels(admission, object_at(*spec, "labels"), "spec.labels");
  check_annotations(admission, object_at(*spec, "annotations"), "spec.annotations");
  if (containers->empty()) {
    admission.refuse("FieldValueRequired", "spec.containers", "at least one container");
  }
  for (size_t i = 0; i < containers->size(); ++i) {
    const auto* container = (*containers)[i].if_object();
    if (container == nullptr || container->contains("command")) continue;
    admission.warn(fmt::format(
        "spec.containers[{}].command is not given: its image's entry point is not known here, so "
        "no replica can be started by it",
        i));
  }
  return check_containers(admission, *containers, "spec.containers");
}

}  // namespace sluice::control
