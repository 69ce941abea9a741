#include "cli/client/logs.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>
#include <mutex>
#include <thread>

#include "cli/client/commands_kit.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

constexpr size_t kMaxFollowed = 32;

Result<const control::ResourceType*> replica_type() {
  const auto* type = control::find_kind("sluice.dev/v1alpha1", "Replica");
  if (type != nullptr) return type;
  return fail(Code::kUnimplemented, "this build knows no replicas");
}

// Replicas that belong to a service or a revision.
Result<std::vector<Place>> replicas_of(ApiClient& api, const Target& target) {
  SLUICE_ASSIGN_OR_RETURN(const auto* type, replica_type());
  const Place all{type, api.address().ns, {}};
  if (target.type->kind == "Replica") return std::vector{Place{type, all.ns, target.name}};
  const std::string_view label = target.type->kind == "InferenceService"
                                     ? "serving.kserve.io/inferenceservice"
                                 : target.type->kind == "Revision" ? "sluice.dev/revision"
                                                                   : "";
  if (label.empty()) {
    return invalid(
        fmt::format("{} have no logs: name a replica, a revision or an isvc", target.type->plural));
  }
  // A service that is not there is an error, one without replicas is not.
  const Place owner{target.type, all.ns, target.name};
  SLUICE_ASSIGN_OR_RETURN(const ApiAnswer found, api.get(owner.path()));
  const json::object& object = found.body.as_object();
  if (!control::text_at(object, "status.sluice.leader").empty()) {
    // It shares a process, which has the label of one service only.
    const std::string_view revision = control::text_at(object, "status.sluice.rollout.stable");
    if (revision.empty()) return std::vector<Place>();
    return expand(api, all, fmt::format("sluice.dev/revision={}", revision), {});
  }
  return expand(api, all, fmt::format("{}={}", label, target.name), {});
}

Result<std::vector<Target>> targets_of(const std::vector<std::string>& words) {
  if (words.empty()) return invalid("name a replica, or isvc/NAME");
  // A name alone is a replica's.
  if (words.size() == 1 && !words.front().contains('/')) {
    SLUICE_ASSIGN_OR_RETURN(const auto* type, replica_type());
    return std::vector{Target{type, words.front()}};
  }
  SLUICE_ASSIGN_OR_RETURN(auto targets, parse_targets(words));
  for (const Target& target : targets) {
    if (target.name.empty()) return invalid("name one object, such as isvc/NAME");
  }
  return targets;
}

QueryParts query_of(const LogsOptions& options) {
  QueryParts query;
  if (options.tail >= 0) query.emplace_back("tailLines", std::to_string(options.tail));
  if (options.follow) query.emplace_back("follow", "true");
  return query;
}

void print_line(const Place& place, bool prefix, std::string_view line) {
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (prefix) std::cout << '[' << place.name << "] ";
  std::cout << line << '\n' << std::flush;
}

Outcome print_log(ApiClient& api, const Place& place, const LogsOptions& options, bool prefix) {
  return api.stream(place.path("log"), query_of(options), "text/plain", std::nullopt,
                    [&](std::string_view line) {
                      print_line(place, prefix, line);
                      return true;
                    });
}

// Each replica's on a connection and a thread of its own.
Outcome follow_all(const std::vector<Place>& places, const LogsOptions& options) {
  if (places.size() > kMaxFollowed) {
    return invalid(
        fmt::format("{} replicas are more than the {} that can be followed at a time: "
                    "name one",
                    places.size(), kMaxFollowed));
  }
  std::vector<Outcome> outcomes(places.size());
  {
    std::vector<std::jthread> threads;
    threads.reserve(places.size());
    for (size_t i = 0; i < places.size(); ++i) {
      threads.emplace_back([&, i] {
        auto api = ApiClient::open(options.api);
        outcomes[i] = api ? print_log(**api, places[i], options, true)
                          : Outcome(std::unexpected(std::move(api).error()));
      });
    }
  }
  const auto bad = std::ranges::find_if(outcomes, [](const Outcome& each) { return !each; });
  return bad == outcomes.end() ? Outcome() : *bad;
}

Outcome logs(ApiClient& api, const LogsOptions& options) {
  SLUICE_ASSIGN_OR_RETURN(const auto targets, targets_of(options.targets));
  std::vector<Place> places;
  for (const Target& target : targets) {
    SLUICE_ASSIGN_OR_RETURN(const auto found, replicas_of(api, target));
    if (found.empty()) {
      std::cerr << fmt::format("{} has no replicas now.\n", shown_name(*target.type, target.name));
    }
    places.insert(places.end(), found.begin(), found.end());
  }
  const bool prefix = options.prefix || places.size() > 1;
  if (options.follow && places.size() > 1) return follow_all(places, options);
  Failures failures;
  for (const Place& place : places) {
    if (const Outcome done = print_log(api, place, options, prefix); !done) {
      failures.note(done.error());
    }
  }
  return failures.outcome();
}

}  // namespace

int run_logs(const LogsOptions& options) {
  return with_api(options.api, [&](ApiClient& api) { return logs(api, options); });
}

}  // namespace sluice::cli
