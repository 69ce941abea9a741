#include "gateway/balancer.h"

#include <fmt/format.h>

#include <optional>

namespace sluice::gateway {
namespace {

// A replica whose checks pass is better than none: what is held against it may have been done by
// the process before it, or on the way there.
Result<ReplicaLease> of_target(Target& target, Target::Query query) {
  if (auto lease = target.choose(query)) return lease;
  query.last_resort = true;
  return target.choose(query);
}

}  // namespace

Result<ReplicaLease> Balancer::choose(const ChooseRequest& request) {
  const auto snapshot = snapshot_();
  Route* route = snapshot->find_route(request.route);
  if (route == nullptr) {
    return fail(Code::kNotFound, fmt::format("there is no route '{}'", request.route));
  }
  const auto header = [&](std::string_view name) -> std::optional<std::string_view> {
    for (const auto& [key, value] : request.headers) {
      if (net::equals_ignoring_case(key, name)) return value;
    }
    return std::nullopt;
  };
  const Target::Query query{.sticky_key = request.sticky_key,
                            .prefix = request.prefix,
                            .blocks = request.blocks,
                            .excluded = request.excluded,
                            .fingerprint = request.fingerprint,
                            .model = request.model};
  // Whoever needs one numerics id does not care for weights: every branch is asked.
  const bool by_numerics = request.upstream.empty() && !request.fingerprint.empty();
  Target* target = nullptr;
  if (!request.upstream.empty()) target = route->target(request.upstream);
  if (target == nullptr && !by_numerics) target = route->split(request.sticky_key, header);
  if (target != nullptr) {
    auto lease = of_target(*target, query);
    // A branch that only waits for a replica does not keep those off who have not chosen one.
    if (lease || !request.upstream.empty() || !target->holds()) return lease;
  }
  for (const bool last_resort : {false, true}) {
    for (size_t i = 0; i < route->targets().size(); ++i) {
      if (!by_numerics && route->settings().targets[i].weight <= 0) continue;
      Target::Query asked = query;
      asked.last_resort = last_resort;
      if (auto lease = route->targets()[i]->choose(asked)) return lease;
    }
  }
  return fail(Code::kUnavailable,
              by_numerics
                  ? "no replica with this numerics id can take requests now"
                  : fmt::format("no replica of route '{}' can take requests now", request.route),
              {}, "no_replica");
}

std::shared_ptr<ReplicaState> Balancer::find(const ReplicaInfo& replica) const {
  const auto snapshot = snapshot_();
  const auto upstream = snapshot->upstreams().find(replica.upstream);
  if (upstream == snapshot->upstreams().end()) return nullptr;
  for (const auto& each : *upstream->second->replicas()) {
    if (each->info().name == replica.name) return each;
  }
  return nullptr;
}

void Balancer::learn_fingerprint(const ReplicaInfo& replica, const std::string& model,
                                 const std::string& fingerprint) {
  if (const auto found = find(replica)) found->learn_fingerprint(model, fingerprint);
}

std::string Balancer::known_fingerprint(const ReplicaInfo& replica, const std::string& model) {
  const auto found = find(replica);
  return found ? found->fingerprint(model) : std::string();
}

}  // namespace sluice::gateway
