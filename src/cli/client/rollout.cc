#include "cli/client/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <optional>

#include "base/clock.h"
#include "cli/client/commands_kit.h"
#include "cli/client/table_text.h"
#include "cli/client/wait.h"
#include "cli/client/yaml_text.h"
#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/names.h"
#include "platform/revision_spec.h"
#include "platform/views.h"

namespace sluice::cli {
namespace {

using control::array_at;
using control::object_at;
using control::text_at;

constexpr std::string_view kManager = "sluice-rollout";
constexpr std::string_view kServiceLabel = "serving.kserve.io/inferenceservice";

RolloutView view_of(const json::object& service) {
  RolloutView view;
  const json::object* rollout = object_at(service, "status.sluice.rollout");
  if (rollout != nullptr) {
    view.phase = text_at(*rollout, "phase");
    view.stable = text_at(*rollout, "stable");
    view.candidate = text_at(*rollout, "candidate");
    if (view.failed()) view.taken_back = text_at(*rollout, "failed");
    view.message = text_at(*rollout, "message");
    view.weight = control::integer_at(*rollout, "weight").value_or(0);
  }
  view.seen = control::integer_at(service, "status.observedGeneration").value_or(0) >=
              control::integer_at(service, "metadata.generation").value_or(1);
  view.ready = is_ready(service);
  return view;
}

json::object json_of(std::string_view name, const RolloutView& view) {
  return {{"name", name},          {"phase", view.phase},
          {"stable", view.stable}, {"candidate", view.candidate},
          {"weight", view.weight}, {"message", view.message},
          {"ended", view.ended()}};
}

std::string sentence_of(const RolloutView& view) {
  if (!view.seen || view.phase.empty()) return "Waiting for the platform to look at it";
  std::string out;
  if (view.phase == "Idle") {
    out = view.ready ? fmt::format("{} has all the traffic", view.stable)
                     : fmt::format("{} is not ready yet",
                                   view.stable.empty() ? "The first revision" : view.stable);
  } else if (view.phase == "RolledBack") {
    out = fmt::format("Rolled back: {} has all the traffic", view.stable);
  } else {
    out = fmt::format("{}: {} has {} % of the traffic, {} the rest", view.phase, view.candidate,
                      view.weight, view.stable.empty() ? "nobody" : view.stable);
  }
  if (!view.message.empty()) out += ": " + view.message;
  return out;
}

Outcome show_status(ApiClient& api, const Place& place, const RolloutOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto patience, parse_patience(options.timeout));
  SLUICE_RETURN_IF_ERROR(api.get(place.path()));  // one that is not there is not waited for
  const auto until = patience ? std::optional(system_clock().now() + *patience) : std::nullopt;
  std::string told;
  RolloutView view;
  bool gone = false;
  SLUICE_RETURN_IF_ERROR(follow_object(api, place, until, [&](const json::object* object) {
    gone = object == nullptr;
    if (gone) return true;
    view = view_of(*object);
    if (options.output != "json" && sentence_of(view) != told) {
      told = sentence_of(view);
      std::cout << place.name << ": " << told << "\n" << std::flush;
    }
    return view.ended() || !options.watch;
  }));
  if (gone) return fail(Code::kNotFound, fmt::format("{} was deleted", place.shown()));
  if (options.output == "json") std::cout << pretty_json(json_of(place.name, view));
  if (view.failed()) return fail(Code::kFailedPrecondition, "the rollout failed");
  return {};
}

Result<std::vector<json::object>> revisions_of(ApiClient& api, const Place& place) {
  const auto* type = control::find_kind("sluice.dev/v1alpha1", "Revision");
  if (type == nullptr) return fail(Code::kUnimplemented, "this build knows no revisions");
  SLUICE_ASSIGN_OR_RETURN(
      const ApiAnswer answer,
      api.get(ApiClient::path_of(*type, place.ns, {}),
              {{"labelSelector", fmt::format("{}={}", kServiceLabel, place.name)}}));
  std::vector<json::object> out;
  const json::array* items = array_at(answer.body.as_object(), "items");
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    if ((*items)[i].is_object()) out.push_back((*items)[i].get_object());
  }
  std::ranges::sort(out, {}, [](const json::object& each) {
    return text_at(each, "metadata.creationTimestamp");
  });
  return out;
}

std::string traffic_of(const json::object& service, std::string_view revision) {
  const json::array* traffic = array_at(service, "status.components.predictor.traffic");
  for (size_t i = 0; traffic != nullptr && i < traffic->size(); ++i) {
    const json::object* entry = (*traffic)[i].if_object();
    if (entry != nullptr && text_at(*entry, "revisionName") == revision) {
      return fmt::format("{} %", control::integer_at(*entry, "percent").value_or(0));
    }
  }
  return "-";
}

// By its name, or by the number at its end.
const json::object* find_revision(const std::vector<json::object>& revisions,
                                  std::string_view wanted) {
  const auto found = std::ranges::find_if(revisions, [&](const json::object& each) {
    const std::string_view name = text_at(each, "metadata.name");
    if (text_at(each, "spec.component") != "predictor") return false;
    return name == wanted || std::to_string(platform::generation_of(name)) == wanted;
  });
  return found == revisions.end() ? nullptr : &*found;
}

// The predictor as it was written then.
Result<const json::object*> source_of(const Place& place,
                                      const std::vector<json::object>& revisions,
                                      std::string_view wanted) {
  const json::object* revision = find_revision(revisions, wanted);
  if (revision == nullptr) {
    return fail(Code::kNotFound, fmt::format("{} has no revision \"{}\"; `sluice rollout history` "
                                             "lists those that are kept",
                                             place.shown(), wanted));
  }
  const json::object* source = object_at(*revision, "spec.source");
  if (source == nullptr && array_at(*revision, "spec.models") != nullptr) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{} is shared by several services: apply the manifest from before",
                            text_at(*revision, "metadata.name")));
  }
  if (source == nullptr) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{}: an older version made it, which did not keep the predictor as it "
                            "was written; apply the manifest from before",
                            text_at(*revision, "metadata.name")));
  }
  return source;
}

Outcome show_history(ApiClient& api, const Place& place, const RolloutOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const ApiAnswer service, api.get(place.path()));
  SLUICE_ASSIGN_OR_RETURN(const auto revisions, revisions_of(api, place));
  if (!options.revision.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const json::object* source,
                            source_of(place, revisions, options.revision));
    const json::value shown(*source);
    std::cout << (options.output == "json" ? pretty_json(shown) : yaml_text(shown));
    return {};
  }
  const json::object& object = service.body.as_object();
  TextTable table({"REVISION", "CREATED", "TRAFFIC", "READY", "STORAGE"});
  json::array list;
  for (const json::object& revision : revisions) {
    const std::string_view name = text_at(revision, "metadata.name");
    const std::string_view created = text_at(revision, "metadata.creationTimestamp");
    const std::string_view storage = text_at(revision, "spec.storageUri");
    const auto ready =
        control::integer_at(revision, "status.ready")
            .value_or(control::integer_at(revision, "status.readyReplicas").value_or(0));
    table.add({std::string(name), std::string(created), traffic_of(object, name),
               std::to_string(ready), storage.empty() ? "-" : std::string(storage)});
    list.push_back(json::object{{"revision", name},
                                {"created", created},
                                {"traffic", traffic_of(object, name)},
                                {"ready", ready},
                                {"storage", storage}});
  }
  if (options.output == "json") {
    std::cout << pretty_json(list);
  } else if (table.empty()) {
    std::cout << place.shown() << " has no revisions yet\n";
  } else {
    std::cout << table.text(true);
  }
  return {};
}

// The time makes it another command than the same one given before.
std::string command_text(std::string_view word, std::string_view revision) {
  return fmt::format("{} {} {}", word, revision,
                     control::micro_time_text(system_clock().unix_seconds()));
}

Outcome annotate(ApiClient& api, const Place& place, const json::value& value) {
  const json::object body{
      {"metadata",
       json::object{{"annotations", json::object{{platform::kRolloutAnnotation, value}}}}}};
  SLUICE_RETURN_IF_ERROR(api.send("PATCH", place.path(), {{"fieldManager", std::string(kManager)}},
                                  json::serialize(body), "application/merge-patch+json"));
  return {};
}

// Puts the predictor of another revision into the specification, and asks for it to take over as
// soon as it can carry the traffic.
Outcome go_back(ApiClient& api, const Place& place, const json::object& service,
                const RolloutView& view, const RolloutOptions& options) {
  std::string wanted = options.revision;
  if (wanted.empty()) {
    wanted = view.failed() ? view.stable : text_at(service, "status.sluice.rollout.previous");
  }
  if (wanted.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{}: there is no revision before {}", place.shown(),
                            view.stable.empty() ? "the first" : view.stable));
  }
  SLUICE_ASSIGN_OR_RETURN(const auto revisions, revisions_of(api, place));
  SLUICE_ASSIGN_OR_RETURN(const json::object* source, source_of(place, revisions, wanted));
  const std::string name(text_at(*find_revision(revisions, wanted), "metadata.name"));
  const json::object* predictor = object_at(service, "spec.predictor");
  if (predictor == nullptr) return invalid("the service has no predictor");
  json::object annotations;
  if (const auto* present = object_at(service, "metadata.annotations")) annotations = *present;
  annotations[platform::kRolloutAnnotation] = command_text("promote", name);
  const auto step = [](std::string_view op, std::string_view path, json::value value) {
    return json::object{{"op", op}, {"path", path}, {"value", std::move(value)}};
  };
  const json::value* generation = control::find_path(service, "metadata.generation");
  const json::array patch{
      // What somebody else changed meanwhile stays.
      step("test", "/metadata/generation", generation == nullptr ? json::value(1) : *generation),
      step("replace", "/spec/predictor", platform::with_template(*predictor, *source)),
      step("add", "/metadata/annotations", std::move(annotations))};
  SLUICE_RETURN_IF_ERROR(api.send("PATCH", place.path(), {{"fieldManager", std::string(kManager)}},
                                  json::serialize(patch), "application/json-patch+json"));
  std::cout << fmt::format("{} goes back to {}\n", place.shown(), name);
  return {};
}

Outcome steer(ApiClient& api, const Place& place, const RolloutOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const ApiAnswer service, api.get(place.path()));
  const json::object& object = service.body.as_object();
  const RolloutView view = view_of(object);
  if (options.action == "resume") {
    SLUICE_RETURN_IF_ERROR(annotate(api, place, nullptr));
    std::cout << place.shown() << " resumed\n";
    return {};
  }
  if (options.action == "undo" && (view.candidate.empty() || !options.revision.empty())) {
    return go_back(api, place, object, view, options);
  }
  const bool again = options.action == "promote" && view.candidate.empty();
  const std::string& revision = again ? view.taken_back : view.candidate;
  if (revision.empty()) {
    return fail(Code::kFailedPrecondition,
                fmt::format("{}: no rollout is under way; {} has the traffic", place.shown(),
                            view.stable.empty() ? "nobody" : view.stable));
  }
  const std::string_view word = options.action == "promote" ? "promote"
                                : options.action == "undo"  ? "rollback"
                                                            : "pause";
  SLUICE_RETURN_IF_ERROR(annotate(api, place, json::value(command_text(word, revision))));
  const std::string_view done = options.action == "promote" ? "promoted"
                                : options.action == "undo"  ? "rolled back"
                                                            : "paused";
  std::cout << fmt::format("{} {}: {}\n", place.shown(), done, revision);
  return {};
}

Outcome rollout(ApiClient& api, const RolloutOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto places,
                          places_of(api, options.api, options.targets, {}, false, false));
  Failures failures;
  for (const Place& place : places) {
    if (place.name.empty() || place.type->kind != "InferenceService") {
      return invalid("rollouts are of services: name one, such as isvc/NAME");
    }
    const Outcome done = options.action == "status"    ? show_status(api, place, options)
                         : options.action == "history" ? show_history(api, place, options)
                                                       : steer(api, place, options);
    if (!done) failures.note(done.error());
  }
  return failures.outcome();
}

}  // namespace

int run_rollout(const RolloutOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return rollout(api, options); });
}

}  // namespace sluice::cli
