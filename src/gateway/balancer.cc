#include "gateway/balancer.h"

#include <fmt/format.h>

#include <optional>

namespace sluice::gateway {

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
  if (!request.upstream.empty()) {
    Target* target = route->target(request.upstream);
    if (target != nullptr) return target->choose(query);
  }
  // Whoever needs one numerics id does not care for weights: every branch is asked.
  if (!request.fingerprint.empty()) {
    for (const auto& target : route->targets()) {
      if (auto lease = target->choose(query)) return lease;
    }
    return fail(Code::kUnavailable, "no replica with this numerics id can take requests now", {},
                "no_replica");
  }
  Target* target = route->split(request.sticky_key, header);
  if (target == nullptr) {
    return fail(Code::kUnavailable,
                fmt::format("no replica of route '{}' can take requests now", request.route), {},
                "no_replica");
  }
  return target->choose(query);
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
