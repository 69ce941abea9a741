#include "platform/revision_spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <vector>

#include "base/secret.h"
#include "control/json_util.h"
#include "platform/placeholders.h"

namespace sluice::platform {
namespace {

using control::array_at;
using control::find_member;
using control::integer_at;
using control::object_at;
using control::text_at;

constexpr std::string_view kMainContainer = "kserve-container";
constexpr size_t kHashDigits = 16;
// Of a component: what changes without a new revision.
constexpr std::array<std::string_view, 9> kScaleFields = {
    "minReplicas",          "maxReplicas", "scaleTarget", "scaleMetric",       "scaleMetricType",
    "canaryTrafficPercent", "logger",      "batcher",     "deploymentStrategy"};

// What of a Container decides about a process here; all else is ignored by the schema's own words.
constexpr std::array<std::string_view, 11> kContainerFields = {
    "name",      "command", "args",          "workingDir",     "env",         "envFrom",
    "resources", "ports",   "livenessProbe", "readinessProbe", "startupProbe"};
constexpr std::array<std::string_view, 2> kProbeHandlers = {"httpGet", "tcpSocket"};

std::unexpected<Status> bad_spec(std::string field, std::string message) {
  return fail(Code::kInvalidArgument, std::move(message), std::move(field), "InvalidPredictorSpec");
}

// The one process of a list of containers: as KServe names it, else the only one. Those beside it
// are not run, as is said when the object is written.
Result<const json::object*> main_container(const json::array& containers,
                                           const std::string& field) {
  std::vector<std::string_view> names;
  const json::object* only = nullptr;
  for (const json::value& each : containers) {
    only = each.if_object();
    if (only == nullptr) continue;
    names.push_back(text_at(*only, "name"));
    if (names.back() == kMainContainer) return only;
  }
  if (names.size() == 1) return only;
  return bad_spec(field,
                  fmt::format("expected one container, or one that is called {}: a replica is one "
                              "process; found {}",
                              kMainContainer,
                              names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "))));
}

json::object useful_part(const json::object& container) {
  json::object out;
  for (const std::string_view field : kContainerFields) {
    if (const json::value* value = find_member(container, field)) out[field] = *value;
  }
  return out;
}

// Lists of objects told apart by `key`: those of `over` take the place of equal ones.
void merge_list(json::array& under, const json::array& over, std::string_view key) {
  for (const json::value& each : over) {
    const auto* item = each.if_object();
    if (item == nullptr) continue;
    const json::value* name = find_member(*item, key);
    const auto same = [&](const json::value& other) {
      const auto* object = other.if_object();
      const json::value* known = object == nullptr ? nullptr : find_member(*object, key);
      return name != nullptr && known != nullptr && control::same_json(*name, *known);
    };
    const auto found = std::ranges::find_if(under, same);
    if (found == under.end()) {
      under.push_back(each);
    } else {
      *found = each;
    }
  }
}

void merge_members(json::object& under, const json::object& over) {
  for (const auto& [key, value] : over) {
    json::value& mine = under[key];
    if (mine.is_object() && value.is_object()) {
      merge_members(mine.get_object(), value.get_object());
    } else {
      mine = value;
    }
  }
}

// A probe that is asked in another way takes no part of the first one's.
void merge_probe(json::value& under, const json::value& over) {
  if (!under.is_object() || !over.is_object()) {
    under = over;
    return;
  }
  for (const std::string_view handler : kProbeHandlers) {
    if (!over.get_object().contains(handler)) continue;
    for (const std::string_view other : kProbeHandlers) {
      if (other != handler) under.get_object().erase(other);
    }
  }
  merge_members(under.get_object(), over.get_object());
}

json::array& list_of(json::object& object, std::string_view key) {
  json::value& value = object[key];
  if (!value.is_array()) value = json::array();
  return value.get_array();
}

// The service's container over the runtime's: arguments and envFrom go behind the runtime's, the
// command takes the place of the runtime's, all else is merged.
json::object merged(json::object under, const json::object& over) {
  for (const auto& [key, value] : over) {
    if (value.is_null()) continue;
    if (key == "args" || key == "envFrom") {
      const auto* more = value.if_array();
      json::array& list = list_of(under, key);
      if (more != nullptr) list.insert(list.end(), more->begin(), more->end());
    } else if (key == "env" && value.is_array()) {
      merge_list(list_of(under, key), value.get_array(), "name");
    } else if (key == "ports" && value.is_array()) {
      merge_list(list_of(under, key), value.get_array(), "containerPort");
    } else if (key == "resources" && value.is_object()) {
      merge_members(control::object_of(under, key), value.get_object());
    } else if (key.ends_with("Probe")) {
      merge_probe(under[key], value);
    } else {
      under[key] = value;
    }
  }
  return under;
}

std::vector<std::string> words_of(const json::object& container) {
  std::vector<std::string> words;
  for (const std::string_view field : {"command", "args"}) {
    const auto* list = array_at(container, field);
    for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
      if (const auto* word = (*list)[i].if_string()) words.emplace_back(*word);
    }
  }
  return words;
}

// The values of an option, given as "--name value…" or "--name=value".
std::vector<std::string> option_values(const std::vector<std::string>& words,
                                       std::string_view option) {
  std::vector<std::string> values;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i].starts_with(option) && words[i].substr(option.size()).starts_with('=')) {
      values.push_back(words[i].substr(option.size() + 1));
    } else if (words[i] == option) {
      while (i + 1 < words.size() && !words[i + 1].starts_with('-')) values.push_back(words[++i]);
    }
  }
  std::erase_if(values, [](const std::string& each) { return each.empty(); });
  return values;
}

// How the server was told to call its model, in the ways that servers are told.
std::vector<std::string> model_names(const json::object& container) {
  const std::vector<std::string> words = words_of(container);
  for (const std::string_view option :
       {"--served-model-name", "--served_model_name", "--model_name", "--model-name", "--alias"}) {
    if (auto values = option_values(words, option); !values.empty()) return values;
  }
  const auto* env = array_at(container, "env");
  for (size_t i = 0; env != nullptr && i < env->size(); ++i) {
    const auto* variable = (*env)[i].if_object();
    if (variable == nullptr) continue;
    const std::string_view name = text_at(*variable, "name");
    if (name != "SLUICE_SERVED_MODEL_NAME" && name != "MODEL_NAME") continue;
    if (const auto value = text_at(*variable, "value"); !value.empty()) {
      return {std::string(value)};
    }
  }
  return {};
}

std::string_view last_segment(std::string_view path) {
  return path.substr(path.rfind('/') + 1);  // npos + 1 is 0
}

void write_sorted(const json::value& value, std::string& out) {
  if (const auto* list = value.if_array()) {
    out.push_back('[');
    for (const json::value& each : *list) {
      write_sorted(each, out);
      out.push_back(',');
    }
    out.push_back(']');
    return;
  }
  const auto* object = value.if_object();
  if (object == nullptr) {
    out += json::serialize(value);
    return;
  }
  std::vector<std::string_view> keys;
  for (const auto& each : *object) keys.push_back(each.key());
  std::ranges::sort(keys);
  out.push_back('{');
  for (const std::string_view key : keys) {
    out += json::serialize(json::value(key));
    out.push_back(':');
    write_sorted(*object->if_contains(key), out);
    out.push_back(',');
  }
  out.push_back('}');
}

class SpecMaker {
 public:
  explicit SpecMaker(const ComponentSource& source)
      : source_(source),
        field_(source.branch.empty() ? fmt::format("spec.{}", component_name(source.kind))
                                     : fmt::format("spec.canary[{}].predictor", source.branch)),
        model_(source.kind == Component::kPredictor ? object_at(source.component, "model")
                                                    : nullptr) {}

  Result<json::object> make() {
    SLUICE_ASSIGN_OR_RETURN(json::object container, make_container());
    json::value filled(std::move(container));
    if (const Outcome good = fill_placeholders(filled, metadata()); !good) {
      return bad_spec(field_, good.error().message());
    }
    container = std::move(filled.get_object());
    SLUICE_RETURN_IF_ERROR(check(container));
    add_predictor_options(container);
    spec_["component"] = component_name(source_.kind);
    spec_["service"] = text_at(metadata(), "name");
    if (!source_.branch.empty()) spec_["branch"] = source_.branch;
    add_model(container);
    spec_["container"] = std::move(container);
    add_pod_fields();
    add_bounds();
    spec_["templateHash"] = template_hash(spec_);
    return std::move(spec_);
  }

 private:
  const json::object& metadata() const {
    static const json::object kNone;
    const auto* found = object_at(source_.service, "metadata");
    return found == nullptr ? kNone : *found;
  }

  const json::object& runtime_spec() const {
    static const json::object kNone;
    const auto* found = source_.runtime == nullptr ? nullptr : object_at(*source_.runtime, "spec");
    return found == nullptr ? kNone : *found;
  }

  Result<json::object> make_container() {
    const auto* own = array_at(source_.component, "containers");
    if (model_ == nullptr) {
      static const json::array kNone;
      SLUICE_ASSIGN_OR_RETURN(
          const auto* only, main_container(own == nullptr ? kNone : *own, field_ + ".containers"));
      return useful_part(*only);
    }
    if (source_.runtime == nullptr) return bad_spec(field_ + ".model", "a model needs a runtime");
    const auto* of_runtime = array_at(runtime_spec(), "containers");
    static const json::array kNone;
    SLUICE_ASSIGN_OR_RETURN(
        const auto* base, main_container(of_runtime == nullptr ? kNone : *of_runtime,
                                         fmt::format("{}.runtime (spec.containers of {})", field_,
                                                     text_at(*source_.runtime, "metadata.name"))));
    json::object container = merged(useful_part(*base), useful_part(*model_));
    container["name"] = kMainContainer;
    for (size_t i = 0; own != nullptr && i < own->size(); ++i) {
      const auto* more = (*own)[i].if_object();
      if (more == nullptr || text_at(*more, "name") != kMainContainer) continue;
      container = merged(std::move(container), useful_part(*more));
    }
    return container;
  }

  // What KServe gives the servers that stand before a predictor, unless they have it.
  void add_predictor_options(json::object& container) const {
    if (source_.kind == Component::kPredictor) return;
    const std::vector<std::string> words = words_of(container);
    const auto* ports = array_at(container, "ports");
    const bool knows_port = (ports != nullptr && !ports->empty()) ||
                            std::ranges::any_of(words, [](const std::string& word) {
                              return word.contains("$(PORT)");
                            });
    json::array& args = list_of(container, "args");
    const auto add = [&](std::string_view option, std::string_view value) {
      if (!option_values(words, option).empty()) return;
      args.emplace_back(option);
      args.emplace_back(value);
    };
    add("--model_name", text_at(metadata(), "name"));
    add("--predictor_host", "$(PREDICTOR_HOST)");
    if (!knows_port) add("--http_port", "$(PORT)");
  }

  Outcome check(const json::object& container) const {
    const std::vector<std::string> words = words_of(container);
    const auto* command = array_at(container, "command");
    if (command == nullptr || command->empty()) {
      return bad_spec(field_,
                      "no command: an image's entry point is not known here; give "
                      "`command` in the ServingRuntime or the container");
    }
    const bool wants_model = std::ranges::any_of(
        words, [](const std::string& word) { return word.contains("/mnt/models"); });
    if (wants_model && storage_uri().empty()) {
      return bad_spec(field_ + ".model.storageUri",
                      "required: the runtime's arguments name /mnt/models, where it would lie");
    }
    return {};
  }

  std::string_view storage_uri() const {
    return model_ == nullptr ? std::string_view() : text_at(*model_, "storageUri");
  }

  void add_model(const json::object& container) {
    if (source_.runtime != nullptr && model_ != nullptr) {
      spec_["runtime"] = json::object{{"kind", text_at(*source_.runtime, "kind")},
                                      {"name", text_at(*source_.runtime, "metadata.name")}};
    }
    if (!storage_uri().empty()) spec_["storageUri"] = storage_uri();
    const std::vector<std::string> names = model_names(container);
    if (names.empty()) return;
    json::array list;
    for (const std::string& name : names) list.emplace_back(name);
    spec_["modelNames"] = std::move(list);
  }

  void add_pod_fields() {
    for (const std::string_view field : {"serviceAccountName", "terminationGracePeriodSeconds"}) {
      const json::value* value = find_member(source_.component, field);
      if (value == nullptr) value = find_member(runtime_spec(), field);
      if (value != nullptr && !value->is_null()) spec_[field] = *value;
    }
    for (const std::string_view field : {"labels", "annotations"}) {
      json::object map;
      for (const auto* from : {&runtime_spec(), &source_.component}) {
        if (const auto* given = object_at(*from, field)) merge_members(map, *given);
      }
      if (!map.empty()) spec_[field] = std::move(map);
    }
  }

  void add_bounds() {
    if (const auto limit = integer_at(source_.component, "containerConcurrency")) {
      spec_["containerConcurrency"] = *limit;
    }
    if (const auto timeout = integer_at(source_.component, "timeout")) {
      spec_["timeoutSeconds"] = *timeout;
    }
  }

  const ComponentSource& source_;
  const std::string field_;
  const json::object* model_;
  json::object spec_;
};

}  // namespace

bool has_replicas(const json::object& component, Component kind) {
  const auto* containers = array_at(component, "containers");
  if (containers != nullptr && !containers->empty()) return true;
  return kind == Component::kPredictor && object_at(component, "model") != nullptr;
}

Result<json::object> revision_spec(const ComponentSource& source) {
  return SpecMaker(source).make();
}

json::object template_of(const json::object& component) {
  json::object out = component;
  for (const std::string_view field : kScaleFields) out.erase(field);
  return out;
}

json::object with_template(const json::object& present, const json::object& source) {
  json::object out = template_of(source);
  for (const std::string_view field : kScaleFields) {
    if (const json::value* value = present.if_contains(field)) out[field] = *value;
  }
  return out;
}

std::string template_hash(const json::object& spec) {
  json::object hashed;
  for (const auto& [key, value] : spec) {
    if (key == "labels" || key == "annotations" || key == "branch" || key == "templateHash" ||
        key == "source") {
      continue;
    }
    hashed[key] = value;
  }
  std::string text;
  write_sorted(json::value(std::move(hashed)), text);
  return SecretDigest(text).hex().substr(0, kHashDigits);
}

bool is_sluice_serve(const json::object& revision_spec) {
  const auto* container = object_at(revision_spec, "container");
  if (container == nullptr) return false;
  const std::vector<std::string> words = words_of(*container);
  return words.size() >= 2 && last_segment(words[0]) == "sluice" && words[1] == "serve";
}

}  // namespace sluice::platform
