#include "cli/client/change.h"

#include <fmt/format.h>

#include <iostream>

#include "cli/client/commands_kit.h"
#include "cli/client/wait.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

Outcome remove_one(ApiClient& api, const Place& place, const DeleteOptions& options,
                   std::vector<Place>& waiting) {
  const std::string_view propagation = options.cascade == "foreground" ? "Foreground"
                                       : options.cascade == "orphan"   ? "Orphan"
                                                                       : "Background";
  const json::object body{
      {"apiVersion", "v1"}, {"kind", "DeleteOptions"}, {"propagationPolicy", propagation}};
  const auto answer =
      api.send("DELETE", place.path(), {}, json::serialize(body), "application/json");
  if (!answer) {
    if (options.ignore_not_found && answer.error().reason() == "NotFound") return {};
    return std::unexpected(answer.error());
  }
  std::cout << fmt::format("{} \"{}\" deleted\n",
                           place.type->group.empty()
                               ? std::string(place.type->singular)
                               : fmt::format("{}.{}", place.type->singular, place.type->group),
                           place.name)
            << std::flush;
  waiting.push_back(place);
  return {};
}

Outcome remove(ApiClient& api, const DeleteOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto named,
                          places_of(api, options.api, options.targets, options.files,
                                    options.recursive, options.all_namespaces));
  SLUICE_ASSIGN_OR_RETURN(const auto patience, parse_patience(options.timeout));
  std::vector<Place> places;
  for (const Place& place : named) {
    if (!place.name.empty()) {
      places.push_back(place);
      continue;
    }
    if (!options.all && options.selector.empty()) {
      return invalid(
          fmt::format("name the {} to delete, or say --all or -l SELECTOR", place.type->plural));
    }
    SLUICE_ASSIGN_OR_RETURN(const auto found, expand(api, place, options.selector, {}));
    if (found.empty()) std::cerr << "No resources found.\n";
    places.insert(places.end(), found.begin(), found.end());
  }
  Failures failures;
  std::vector<Place> waiting;
  for (const Place& place : places) {
    if (const Outcome done = remove_one(api, place, options, waiting); !done) {
      failures.note(done.error());
    }
  }
  const auto until = patience ? std::optional(system_clock().now() + *patience) : std::nullopt;
  for (const Place& place : waiting) {
    if (!options.wait) break;
    const Outcome gone = follow_object(
        api, place, until, [](const json::object* object) { return object == nullptr; });
    if (!gone) failures.note(gone.error());
  }
  return failures.outcome();
}

Outcome scale_one(ApiClient& api, const Place& place, const ScaleOptions& options) {
  if (!place.type->scalable()) {
    return invalid(fmt::format("{} have no replicas to scale", place.type->plural));
  }
  if (options.current_replicas >= 0) {
    SLUICE_ASSIGN_OR_RETURN(const ApiAnswer scale, api.get(place.path("scale")));
    const auto now = control::integer_at(scale.body.as_object(), "spec.replicas").value_or(0);
    if (now != options.current_replicas) {
      return fail(Code::kFailedPrecondition,
                  fmt::format("{}: expected {} replicas (--current-replicas), found {}",
                              place.shown(), options.current_replicas, now));
    }
  }
  const json::object body{{"spec", json::object{{"replicas", options.replicas}}}};
  SLUICE_RETURN_IF_ERROR(api.send("PATCH", place.path("scale"), {{"fieldManager", "sluice"}},
                                  json::serialize(body), "application/merge-patch+json"));
  std::cout << place.shown() << " scaled\n" << std::flush;
  return {};
}

Outcome scale(ApiClient& api, const ScaleOptions& options) {
  if (options.replicas < 0) return invalid("say how many: --replicas=N");
  SLUICE_ASSIGN_OR_RETURN(const auto places,
                          places_of(api, options.api, options.targets, {}, false, false));
  Failures failures;
  for (const Place& place : places) {
    if (place.name.empty()) return invalid("name what to scale, such as isvc/NAME");
    if (const Outcome done = scale_one(api, place, options); !done) failures.note(done.error());
  }
  return failures.outcome();
}

}  // namespace

int run_delete(const DeleteOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return remove(api, options); });
}

int run_scale(const ScaleOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return scale(api, options); });
}

}  // namespace sluice::cli
