#include "platform/runtime_choice.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <tuple>
#include <vector>

#include "control/json_util.h"
#include "control/objects.h"

namespace sluice::platform {
namespace {

using control::ObjectPtr;
using control::text_at;

constexpr std::string_view kDefaultProtocol = "v1";
constexpr size_t kMaxShown = 16;  // candidates in one message

constexpr std::array<std::string_view, 4> kProtocols = {"v1", "v2", "grpc-v1", "grpc-v2"};

struct Wanted {
  std::string_view format;
  std::string_view version;  // empty: any
  std::string_view protocol;
};

struct Candidate {
  ObjectPtr runtime;
  bool of_cluster = false;
  int64_t priority = 0;  // 0: none
  size_t protocol = 0;   // the lowest that it speaks
};

std::string_view kind_of(const ObjectPtr& runtime) { return runtime->type->kind; }

std::vector<std::string_view> texts_at(const json::object& root, std::string_view path) {
  std::vector<std::string_view> texts;
  const auto* list = control::array_at(root, path);
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    if (const auto* text = (*list)[i].if_string()) texts.emplace_back(*text);
  }
  return texts;
}

size_t lowest_protocol(const json::object& runtime) {
  size_t lowest = kProtocols.size();
  for (const std::string_view protocol : texts_at(runtime, "spec.protocolVersions")) {
    const auto found = std::ranges::find(kProtocols, protocol);
    lowest = std::min(lowest, static_cast<size_t>(found - kProtocols.begin()));
  }
  return lowest;
}

std::string formats_text(const json::object& runtime) {
  std::vector<std::string> names;
  const auto* formats = control::array_at(runtime, "spec.supportedModelFormats");
  for (size_t i = 0; formats != nullptr && i < formats->size(); ++i) {
    const auto* format = (*formats)[i].if_object();
    if (format == nullptr) continue;
    std::string name(text_at(*format, "name"));
    if (const auto version = text_at(*format, "version"); !version.empty()) {
      name.append(" ").append(version);
    }
    names.push_back(std::move(name));
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, ", "));
}

// Why a runtime cannot run any single model, whatever its format.
std::string unusable(const json::object& runtime) {
  if (control::true_at(runtime, "spec.disabled")) return "it is disabled";
  if (control::true_at(runtime, "spec.multiModel")) {
    return "it is multiModel: such a server loads models by ModelMesh, which is not here";
  }
  return {};
}

std::string protocol_problem(const json::object& runtime, std::string_view protocol) {
  const auto spoken = texts_at(runtime, "spec.protocolVersions");
  if (spoken.empty() || std::ranges::find(spoken, protocol) != spoken.end()) return {};
  return fmt::format("it speaks {}, not {}", fmt::join(spoken, ", "), protocol);
}

// The format's entry that serves; else says why none does.
const json::object* find_format(const json::object& runtime, const Wanted& wanted, bool automatic,
                                std::string& why) {
  const auto* formats = control::array_at(runtime, "spec.supportedModelFormats");
  const json::object* best = nullptr;
  bool only_by_name = false;
  for (size_t i = 0; formats != nullptr && i < formats->size(); ++i) {
    const auto* format = (*formats)[i].if_object();
    if (format == nullptr || text_at(*format, "name") != wanted.format) continue;
    if (!wanted.version.empty() && text_at(*format, "version") != wanted.version) continue;
    if (automatic && !control::true_at(*format, "autoSelect")) {
      only_by_name = true;
      continue;
    }
    const auto priority = [](const json::object& f) {
      return control::integer_at(f, "priority").value_or(0);
    };
    if (best == nullptr || priority(*format) > priority(*best)) best = format;
  }
  if (best != nullptr) return best;
  why = only_by_name ? "it has no autoSelect for this format: name it in model.runtime"
                     : fmt::format("it serves {}", formats_text(runtime));
  return nullptr;
}

std::string wanted_text(const Wanted& wanted) {
  std::string text = fmt::format("the model format \"{}\"", wanted.format);
  if (!wanted.version.empty()) text += fmt::format(" version \"{}\"", wanted.version);
  return text + fmt::format(" by the protocol {}", wanted.protocol);
}

std::unexpected<Status> no_runtime(std::string_view reason, std::string message) {
  return fail(Code::kFailedPrecondition, std::move(message), "spec.predictor.model",
              std::string(reason));
}

class Choice {
 public:
  explicit Choice(const json::object& model) {
    wanted_.format = text_at(model, "modelFormat.name");
    wanted_.version = text_at(model, "modelFormat.version");
    wanted_.protocol = text_at(model, "protocolVersion");
    if (wanted_.protocol.empty()) wanted_.protocol = kDefaultProtocol;
    protocol_given_ = !text_at(model, "protocolVersion").empty();
  }

  void look_at(const ObjectPtr& runtime, bool of_cluster) {
    std::string why = unusable(runtime->body);
    if (why.empty()) why = protocol_problem(runtime->body, wanted_.protocol);
    const json::object* format = nullptr;
    if (why.empty()) format = find_format(runtime->body, wanted_, true, why);
    if (format == nullptr) {
      refused_.push_back(fmt::format("{} {}: {}", kind_of(runtime), runtime->name, why));
      return;
    }
    good_.push_back({.runtime = runtime,
                     .of_cluster = of_cluster,
                     .priority = control::integer_at(*format, "priority").value_or(0),
                     .protocol = lowest_protocol(runtime->body)});
  }

  Result<ObjectPtr> best() {
    if (good_.empty()) return no_runtime("NoSupportingRuntime", refusal());
    const auto key = [](const Candidate& c) {
      return std::tuple(c.of_cluster, -c.priority, c.protocol);
    };
    const auto before = [&](const Candidate& a, const Candidate& b) {
      if (key(a) != key(b)) return key(a) < key(b);
      const auto made = [](const Candidate& c) {
        return text_at(c.runtime->body, "metadata.creationTimestamp");
      };
      if (made(a) != made(b)) return made(a) > made(b);
      return a.runtime->name < b.runtime->name;
    };
    return std::ranges::min_element(good_, before)->runtime;
  }

  // A runtime that was asked for by name.
  Result<ObjectPtr> named(const ObjectPtr& runtime) const {
    const std::string at = fmt::format("the {} \"{}\"", kind_of(runtime), runtime->name);
    if (control::true_at(runtime->body, "spec.disabled")) {
      return no_runtime("RuntimeDisabled", at + " is disabled: remove spec.disabled from it, or "
                                                "name another one");
    }
    std::string why = unusable(runtime->body);
    if (why.empty() && protocol_given_) why = protocol_problem(runtime->body, wanted_.protocol);
    if (why.empty()) find_format(runtime->body, wanted_, false, why);
    if (why.empty()) return runtime;
    return no_runtime("NoSupportingRuntime",
                      fmt::format("{} does not serve {}: {}", at, wanted_text(wanted_), why));
  }

 private:
  std::string refusal() const {
    if (refused_.empty()) {
      return fmt::format("no runtime serves {}: there are no runtimes", wanted_text(wanted_));
    }
    const size_t shown = std::min(refused_.size(), kMaxShown);
    std::string text = fmt::format(
        "no runtime serves {}. {}", wanted_text(wanted_),
        fmt::join(refused_.begin(), refused_.begin() + static_cast<ptrdiff_t>(shown), "; "));
    if (shown < refused_.size()) text += fmt::format("; and {} more", refused_.size() - shown);
    return text;
  }

  Wanted wanted_;
  bool protocol_given_ = false;
  std::vector<Candidate> good_;
  std::vector<std::string> refused_;
};

ObjectPtr find_named(std::span<const ObjectPtr> runtimes, std::string_view name) {
  const auto found =
      std::ranges::find_if(runtimes, [&](const ObjectPtr& each) { return each->name == name; });
  return found == runtimes.end() ? nullptr : *found;
}

json::object format_entry(std::string_view name) { return {{"name", name}, {"autoSelect", true}}; }

}  // namespace

json::object built_in_runtime() {
  json::array formats;
  for (const std::string_view name : {"sluice", "gguf", "safetensors", "huggingface", "vLLM"}) {
    formats.push_back(format_entry(name));
  }
  json::object container{{"name", "kserve-container"},
                         {"command", json::array{"sluice", "serve"}},
                         {"args", json::array{"/mnt/models"}},
                         {"env", json::array{json::object{{"name", "SLUICE_SERVED_MODEL_NAME"},
                                                          {"value", "{{.Name}}"}}}}};
  return {{"apiVersion", "serving.kserve.io/v1alpha1"},
          {"kind", "ClusterServingRuntime"},
          {"metadata", json::object{{"name", kBuiltInRuntime}}},
          {"spec", json::object{{"supportedModelFormats", std::move(formats)},
                                {"protocolVersions", json::array{"v1", "v2", "grpc-v2"}},
                                {"containers", json::array{std::move(container)}}}}};
}

control::ApiOutcome ensure_built_in_runtime(control::Objects& objects) {
  const control::ResourceType& type =
      *control::find_kind("serving.kserve.io/v1alpha1", "ClusterServingRuntime");
  const control::WriteOptions options{.who = {"system:controller", control::Role::kAdmin},
                                      .manager = "sluice-platform"};
  const control::ObjectKey key{&type, "", std::string(kBuiltInRuntime)};
  json::object wanted = built_in_runtime();
  const ObjectPtr present = objects.store().get(key);
  if (present == nullptr) {
    auto made = objects.create(type, "", std::move(wanted), options);
    if (!made) return std::unexpected(std::move(made).error());
    return {};
  }
  const json::value* spec = present->body.if_contains("spec");
  if (spec != nullptr && control::same_json(*spec, wanted["spec"])) return {};
  json::object body = present->body;
  body["spec"] = wanted["spec"];
  auto put = objects.update(key, control::Subresource::kNone, std::move(body), options);
  if (!put) return std::unexpected(std::move(put).error());
  return {};
}

Result<ObjectPtr> choose_runtime(const json::object& model, std::string_view ns,
                                 std::span<const ObjectPtr> of_namespace,
                                 std::span<const ObjectPtr> of_cluster) {
  Choice choice(model);
  if (const std::string_view name = text_at(model, "runtime"); !name.empty()) {
    ObjectPtr found = find_named(of_namespace, name);
    if (found == nullptr) found = find_named(of_cluster, name);
    if (found != nullptr) return choice.named(found);
    std::vector<std::string_view> known;
    for (const auto& runtimes : {of_namespace, of_cluster}) {
      for (const ObjectPtr& each : runtimes) {
        if (known.size() < kMaxShown) known.push_back(each->name);
      }
    }
    return no_runtime(
        "RuntimeNotRecognized",
        fmt::format("there is no ServingRuntime \"{}\" in the namespace {} and no "
                    "ClusterServingRuntime of that name; there are {}",
                    name.substr(0, 100), ns,
                    known.empty() ? "none" : fmt::format("{}", fmt::join(known, ", "))));
  }
  for (const ObjectPtr& each : of_namespace) choice.look_at(each, false);
  for (const ObjectPtr& each : of_cluster) choice.look_at(each, true);
  return choice.best();
}

}  // namespace sluice::platform
