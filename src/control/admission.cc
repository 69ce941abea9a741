#include "control/admission.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <utility>

#include "control/json_util.h"
#include "control/limits.h"
#include "control/scalars.h"

namespace sluice::control {
namespace {

constexpr std::string_view kMainContainer = "kserve-container";
constexpr std::array<std::string_view, 8> kLoaderVariables = {
    "PATH",     "PYTHONPATH", "PYTHONHOME",   "PYTHONSTARTUP",
    "BASH_ENV", "ENV",        "NODE_OPTIONS", "GCONV_PATH"};

bool decides_what_is_loaded(std::string_view variable) {
  return variable.starts_with("LD_") ||
         std::ranges::find(kLoaderVariables, variable) != kLoaderVariables.end();
}

bool is_allowed(const AdmissionPolicy& policy, std::string_view command) {
  return std::ranges::find(policy.allowed_commands, command) != policy.allowed_commands.end();
}

ApiOutcome admin_only(const Admission& admission, std::string_view why) {
  return forbidden(
      {std::string(admission.type.group), std::string(admission.type.plural),
       std::string(admission.type.kind), std::string(text_at(admission.object, "metadata.name"))},
      fmt::format("{} (user \"{}\" has the role {}; the role admin may do it)", why,
                  admission.who.name, role_name(admission.who.role)));
}

void check_labels(Admission& admission) {
  check_labels(admission, object_at(admission.object, "metadata.labels"), "metadata.labels");
  check_annotations(admission, object_at(admission.object, "metadata.annotations"),
                    "metadata.annotations");
}

void check_relations(Admission& admission) {
  const auto* finalizers = array_at(admission.object, "metadata.finalizers");
  if (finalizers != nullptr) {
    if (finalizers->size() > limits::kMaxFinalizers) {
      admission.refuse("FieldValueTooLong", "metadata.finalizers",
                       fmt::format("at most {}", limits::kMaxFinalizers));
    }
    for (const json::value& finalizer : *finalizers) {
      const std::string_view name =
          finalizer.is_string() ? std::string_view(finalizer.get_string()) : "";
      if (const std::string problem = label_key_problem(name); !problem.empty()) {
        admission.refuse("FieldValueInvalid", "metadata.finalizers",
                         fmt::format("\"{}\" {}", name.substr(0, 100), problem));
      }
    }
  }
  const auto* owners = array_at(admission.object, "metadata.ownerReferences");
  if (owners != nullptr && owners->size() > limits::kMaxOwners) {
    admission.refuse("FieldValueTooLong", "metadata.ownerReferences",
                     fmt::format("at most {}", limits::kMaxOwners));
  }
}

void refuse_changed(Admission& admission, std::string_view key) {
  const json::value* was = find_path(*admission.before, key);
  const json::value* now = find_path(admission.object, key);
  if (was == nullptr && now == nullptr) return;
  if (was != nullptr && now != nullptr && same_json(*was, *now)) return;
  admission.refuse("FieldValueForbidden", std::string(key),
                   "field is immutable when `immutable` is set");
}

// Devices and the like: nobody here gives them out.
void warn_other_resources(Admission& admission, const json::object& container,
                          const std::string& field) {
  for (const std::string_view list : {"limits", "requests"}) {
    const auto* amounts = object_at(container, fmt::format("resources.{}", list));
    if (amounts == nullptr) continue;
    for (const auto& each : *amounts) {
      const std::string_view name = each.key();
      if (name == "cpu" || name == "memory") continue;
      admission.warn(
          fmt::format("{}.resources.{}.{} has no effect: replicas are given cpu and "
                      "memory",
                      field, list, name.substr(0, 100)));
    }
  }
}

void check_immutable(Admission& admission) {
  if (admission.before == nullptr || !true_at(*admission.before, "immutable")) return;
  for (const std::string_view key : {"immutable", "data", "binaryData"}) {
    refuse_changed(admission, key);
  }
}

}  // namespace

void check_labels(Admission& admission, const json::object* labels, const std::string& field) {
  if (labels == nullptr) return;
  if (labels->size() > limits::kMaxLabels) {
    admission.refuse("FieldValueTooLong", field,
                     fmt::format("at most {} labels", limits::kMaxLabels));
  }
  for (const auto& [key, value] : *labels) {
    if (const std::string problem = label_key_problem(key); !problem.empty()) {
      admission.refuse("FieldValueInvalid", field,
                       fmt::format("the key \"{}\" {}", std::string_view(key), problem));
    }
    const std::string_view text = value.is_string() ? std::string_view(value.get_string()) : "";
    if (const std::string problem = label_value_problem(text); !problem.empty()) {
      admission.refuse("FieldValueInvalid", field,
                       fmt::format("the value \"{}\" of {} {}", text.substr(0, 100),
                                   std::string_view(key), problem));
    }
  }
}

void check_annotations(Admission& admission, const json::object* annotations,
                       const std::string& field) {
  if (annotations == nullptr) return;
  size_t bytes = 0;
  for (const auto& [key, value] : *annotations) {
    bytes += key.size() + (value.is_string() ? value.get_string().size() : 0);
    if (const std::string problem = label_key_problem(key); !problem.empty()) {
      admission.refuse("FieldValueInvalid", field,
                       fmt::format("the key \"{}\" {}", std::string_view(key), problem));
    }
  }
  if (bytes > limits::kMaxAnnotationBytes) {
    admission.refuse("FieldValueTooLong", field,
                     fmt::format("at most {} bytes together", limits::kMaxAnnotationBytes));
  }
}

std::string_view Admission::ns() const { return text_at(object, "metadata.namespace"); }

void Admission::refuse(std::string_view reason, std::string field, std::string message) {
  causes.push_back({std::string(reason), std::move(message), std::move(field)});
}

void Admission::warn(std::string message) { warnings.push_back(std::move(message)); }

ApiOutcome check_container(Admission& admission, const json::object& container,
                           const std::string& field) {
  const bool admin = admission.who.role == Role::kAdmin;
  warn_other_resources(admission, container, field);
  if (const auto* command = array_at(container, "command"); command != nullptr) {
    if (command->empty() || !command->front().is_string() ||
        command->front().get_string().empty()) {
      admission.refuse("FieldValueInvalid", field + ".command",
                       "expected the program to run as the first item");
      return {};
    }
    const std::string_view program = command->front().get_string();
    if (!admin && !is_allowed(admission.policy, program)) {
      return admin_only(
          admission,
          fmt::format("{}.command runs \"{}\", which is not on the allow-list ({})", field,
                      program.substr(0, 100), fmt::join(admission.policy.allowed_commands, ", ")));
    }
  }
  const auto* env = array_at(container, "env");
  if (env == nullptr || admin) return {};
  for (const json::value& entry : *env) {
    const auto* variable = entry.if_object();
    const std::string_view name = variable == nullptr ? "" : text_at(*variable, "name");
    if (decides_what_is_loaded(name)) {
      return admin_only(admission, fmt::format("{}.env sets {}, which decides what a program loads",
                                               field, name));
    }
  }
  return {};
}

ApiOutcome check_containers(Admission& admission, const json::array& containers,
                            const std::string& field) {
  const auto is_main = [](const json::value& each) {
    const auto* container = each.if_object();
    return container != nullptr && text_at(*container, "name") == kMainContainer;
  };
  if (containers.size() > 1 && std::ranges::none_of(containers, is_main)) {
    admission.refuse(
        "FieldValueInvalid", field,
        fmt::format("a replica is one process: call the container that is to be run {}",
                    kMainContainer));
  }
  for (size_t i = 0; i < containers.size(); ++i) {
    const auto* container = containers[i].if_object();
    if (container == nullptr) continue;
    const std::string at = fmt::format("{}[{}]", field, i);
    if (text_at(*container, "name").empty() && containers.size() > 1) {
      admission.refuse("FieldValueRequired", at + ".name",
                       "one of several containers needs a name");
    }
    SLUICE_RETURN_IF_ERROR(check_container(admission, *container, at));
    if (containers.size() > 1 && text_at(*container, "name") != kMainContainer) {
      admission.warn(fmt::format("{} is not run: a replica is one process, the container {}", at,
                                 kMainContainer));
    }
  }
  return {};
}

ApiOutcome admit(Admission& admission) {
  check_labels(admission);
  check_relations(admission);
  const std::string_view kind = admission.type.kind;
  if (kind == "InferenceService") return admit_inference_service(admission);
  if (kind == "ServingRuntime" || kind == "ClusterServingRuntime") return admit_runtime(admission);
  if (kind == "InferenceGraph") admit_graph(admission);
  if (kind == "Secret") admit_secret(admission);
  if (kind == "ConfigMap") admit_config_map(admission);
  if (kind == "Provider") admit_provider(admission);
  if (kind == "Tenant") admit_tenant(admission);
  if (kind == "ApiKey") admit_api_key(admission);
  return {};
}

void fold_string_data(json::object& secret) {
  const auto* plain = object_at(secret, "stringData");
  if (plain == nullptr) return;
  const json::object texts = *plain;
  json::object& data = object_of(secret, "data");
  for (const auto& [key, value] : texts) {
    if (value.is_string()) data[key] = base64_encode(std::string_view(value.get_string()));
  }
  secret.stable_erase(secret.find("stringData"));
}

void admit_secret(Admission& admission) {
  fold_string_data(admission.object);
  check_immutable(admission);
  if (admission.before != nullptr &&
      text_at(*admission.before, "type") != text_at(admission.object, "type")) {
    admission.refuse("FieldValueInvalid", "type", "field is immutable");
  }
}

void admit_config_map(Admission& admission) { check_immutable(admission); }

}  // namespace sluice::control
