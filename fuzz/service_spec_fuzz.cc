// Objects of any shape as services, runtimes and states: no crash, and what comes out is within its
// bounds: revisions have a command and a hash, replicas no PORT of their own, a shared process its
// models, a rollout's state is read as it was written, and whatever plan is written is one that the
// gateway takes.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/json.h"
#include "control/json_util.h"
#include "plan/parse.h"
#include "platform/placeholders.h"
#include "platform/plan_writer.h"
#include "platform/process_sharing.h"
#include "platform/replica_template.h"
#include "platform/revision_spec.h"
#include "platform/rollout.h"
#include "platform/runtime_choice.h"

namespace {

using namespace sluice;
using platform::Component;

control::ObjectPtr object_of(std::string_view api_version, std::string_view kind,
                             const json::object& body) {
  json::object whole = body;
  whole["apiVersion"] = api_version;
  whole["kind"] = kind;
  whole["metadata"] = json::object{{"name", "a"}, {"namespace", "default"}, {"uid", "u"}};
  return control::make_object(*control::find_kind(api_version, kind), std::move(whole), 1);
}

void check_replica(const json::object& spec) {
  platform::ReplicaPlace place;
  place.id = "default.a-0";
  place.ns = "default";
  place.model_path = "/models/m.gguf";
  place.sluice_program = "/bin/sluice";
  place.find = [](std::string_view, std::string_view) { return control::ObjectPtr(); };
  const auto replica = platform::replica_template(spec, place);
  if (!replica) {
    if (replica.error().message().empty()) std::abort();
    return;
  }
  if (replica->command.empty()) std::abort();
  for (const auto& [name, value] : replica->environment) {
    if (name == "PORT" || name.empty()) std::abort();
  }
}

void check_plan(const json::object& service, const json::object& spec) {
  platform::PlanInput input;
  const auto revision = object_of("sluice.dev/v1alpha1", "Revision", {{"spec", spec}});
  input.revisions = {{revision, {{"a-0", "http://127.0.0.1:1"}}}};
  input.services = {{.object = object_of("serving.kserve.io/v1beta1", "InferenceService", service),
                     .predictor = {{"a", 100}}}};
  input.graphs = {object_of("serving.kserve.io/v1alpha1", "InferenceGraph", service)};
  input.providers = {object_of("sluice.dev/v1alpha1", "Provider", service)};
  const platform::PlanSettings settings{.secrets_folder = "/s", .master = std::string(32, 'm')};
  const platform::PlanText text = platform::write_plan(input, settings);
  const auto value = parse_json(text.text);
  if (!value) std::abort();
  const plan::SecretSource secrets{
      .environment = [](const std::string&) -> Result<std::string> { return "x"; },
      .file = [](const std::string&) -> Result<std::string> { return "x"; }};
  if (value->as_object().at("routes").as_array().empty()) return;
  if (!plan::plan_from_json(*value, secrets)) std::abort();
}

// As one of a process that services share.
void check_shared(const json::object& service, const json::object& spec) {
  const auto shared = platform::shared_template(service, spec);
  if (!shared) {
    if (shared.error().message().empty()) std::abort();
    return;
  }
  const std::string process = platform::process_key(*shared);
  const auto own = object_of("serving.kserve.io/v1beta1", "InferenceService", service);
  const platform::ProcessGroup group = platform::process_group(
      {own}, process, own, {{.process = process, .storage_uri = "file:///m.gguf"}});
  const json::object revision = platform::shared_revision_spec(*shared, group, "a");
  if (platform::shared_uri(revision, "a") != "file:///m.gguf") std::abort();
  const platform::ReplicaPlace place{.id = "default.a-0",
                                     .ns = "default",
                                     .models = {{"a", "/m.gguf"}},
                                     .sluice_program = "/bin/sluice",
                                     .find = [](auto, auto) { return control::ObjectPtr(); }};
  const auto replica = platform::replica_template(revision, place);
  if (replica && std::ranges::count(replica->command, "/m.gguf=a") < 1) std::abort();
  check_plan(service, revision);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto value = parse_json(text, {.max_bytes = 1u << 16, .max_depth = 32});
  if (!value || !value->is_object()) return 0;
  const json::object& given = value->get_object();
  static const json::object kNone;
  const auto part = [&](std::string_view name) -> const json::object& {
    const auto* found = control::object_at(given, name);
    return found == nullptr ? kNone : *found;
  };
  const auto runtime =
      object_of("serving.kserve.io/v1alpha1", "ServingRuntime", {{"spec", part("runtime")}});
  const auto* model = control::object_at(given, "component.model");
  if (model != nullptr) {
    const auto chosen =
        platform::choose_runtime(*model, "default", std::vector{runtime}, std::vector{runtime});
    if (!chosen && chosen.error().reason().empty()) std::abort();
  }
  json::object service = part("service");
  service["metadata"] = part("metadata");
  const auto spec = platform::revision_spec({.service = service,
                                             .component = part("component"),
                                             .kind = Component::kPredictor,
                                             .runtime = &runtime->body});
  if (spec) {
    if (control::text_at(*spec, "templateHash").size() != 16) std::abort();
    check_replica(*spec);
    check_plan(service, *spec);
    check_shared(service, *spec);
  }
  check_replica(part("component"));
  platform::rollout_policy(part("service"));
  const platform::Rollout state = platform::rollout_from_json(given);
  if (platform::rollout_from_json(platform::to_json(state)) != state) {
    if (!state.candidate.empty()) std::abort();
  }
  return 0;
}
