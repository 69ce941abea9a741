#include <fmt/format.h>

#include <array>
#include <unordered_map>
#include <unordered_set>

#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

// A field of a route that upstreams of a kind have no use for. `field` empty: all of `map`.
struct WithoutEffect {
  UpstreamKind over;
  std::string_view map;
  std::string_view field;
  std::string_view why;
};
constexpr auto kWithoutEffect = std::to_array<WithoutEffect>({
    {UpstreamKind::kSluice, "retry", "on",
     "has no effect over upstreams of kind sluice, where whatever a replica is to blame for is "
     "tried again; leave it out"},
    {UpstreamKind::kSluice, "retry", "max_retry_after",
     "has no effect over upstreams of kind sluice: leave it out"},
    {UpstreamKind::kSluice, "timeouts", "connect",
     "has no effect over upstreams of kind sluice: use unbroken.hang_after"},
    {UpstreamKind::kSluice, "timeouts", "first_byte",
     "has no effect over upstreams of kind sluice: use unbroken.hang_after, or hedge"},
    {UpstreamKind::kSluice, "timeouts", "idle",
     "has no effect over upstreams of kind sluice: use unbroken.hang_after"},
    {UpstreamKind::kForeign, "unbroken", "",
     "has no effect over upstreams of kind foreign: leave it out"},
    {UpstreamKind::kForeign, "prefix", "exact",
     "has no effect over upstreams of kind foreign: leave it out"},
});

constexpr Mentions bit(size_t i) { return Mentions{1} << i; }

// Null when it does not stand in the route.
const Node* find(const Node& route, const WithoutEffect& what) {
  const Node* found = route.find(what.map);
  if (found != nullptr && !what.field.empty()) found = found->find(what.field);
  return found == nullptr || found->null() ? nullptr : found;
}

// Names must be unique, and those that are referred to must exist.
class References {
 public:
  References(const Plan& plan, std::span<const Mentions> mentions, Fields& root)
      : plan_(plan), mentions_(mentions), root_(root) {
    for (const Upstream& each : plan.upstreams) upstreams_.emplace(each.name, &each);
    for (const Route& each : plan.routes) routes_.insert(each.name);
    for (const Graph& each : plan.graphs) graphs_.insert(each.name);
  }

  void check() {
    unique("upstreams", plan_.upstreams);
    unique("routes", plan_.routes);
    unique("graphs", plan_.graphs);
    unique("tenants", plan_.tenants);
    for (size_t i = 0; i < plan_.routes.size(); ++i) {
      route(plan_.routes[i], mentions_[i], item("routes", i));
    }
    for (size_t i = 0; i < plan_.graphs.size(); ++i) graph(plan_.graphs[i], item("graphs", i));
    for (size_t i = 0; i < plan_.tenants.size(); ++i) tenant(plan_.tenants[i], item("tenants", i));
  }

 private:
  struct At {
    const Node* node;
    std::string_view list;
    size_t item;

    std::string path() const { return fmt::format("{}[{}]", list, item); }
  };

  At item(std::string_view list, size_t i) {
    const Node* found = root_.node().find(list);
    const bool there = found != nullptr && i < found->items.size();
    return {there ? &found->items[i] : &root_.node(), list, i};
  }

  template <typename T>
  void unique(std::string_view list, const std::vector<T>& values) {
    std::unordered_set<std::string_view> seen;
    for (size_t i = 0; i < values.size(); ++i) {
      if (values[i].name.empty() || seen.insert(values[i].name).second) continue;
      const At at = item(list, i);
      root_.problems().add(*at.node, at.path() + ".name",
                           fmt::format("the name '{}' stands above already", values[i].name));
    }
  }

  void upstream(const At& at, const std::string& name) {
    if (name.empty() || find_upstream(name) != nullptr) return;
    root_.problems().add(*at.node, at.path(), fmt::format("there is no upstream '{}'", name));
  }

  void route(const Route& route, Mentions mentions, const At& at) {
    bool over_sluice = false;
    bool over_foreign = false;
    for (const Target& target : route.targets) {
      upstream(at, target.upstream);
      const Upstream* found = find_upstream(target.upstream);
      if (found == nullptr) continue;
      (found->kind == UpstreamKind::kSluice ? over_sluice : over_foreign) = true;
    }
    if (over_sluice && over_foreign) {
      root_.problems().add(*at.node, at.path() + ".targets",
                           "upstreams of kind sluice and foreign cannot share a route");
    }
    if (over_sluice) without_effect(at, UpstreamKind::kSluice, mentions);
    if (over_foreign) without_effect(at, UpstreamKind::kForeign, mentions);
    if (route.explain && !route.explain->route.empty() && !routes_.contains(route.explain->route)) {
      root_.problems().add(*at.node, at.path() + ".explain.route",
                           fmt::format("there is no route '{}'", route.explain->route));
    }
    if (!route.match.prefix.empty() && !prefixes_.insert(route.match.prefix).second) {
      root_.problems().add(*at.node, at.path() + ".match.prefix",
                           "another route has this prefix already");
    }
    for (const Fallback& fallback : route.fallbacks) {
      upstream(at, fallback.upstream);
      if (over_sluice) sluice_too(at, "fallbacks", fallback.upstream);
    }
    if (!route.mirror) return;
    upstream(at, route.mirror->upstream);
    if (over_sluice) sluice_too(at, "mirror", route.mirror->upstream);
  }

  void graph(const Graph& graph, const At& at) {
    if (routes_.contains(graph.name)) {
      root_.problems().add(*at.node, at.path() + ".name",
                           fmt::format("there is a route '{}' too", graph.name));
    }
    for (size_t n = 0; n < graph.nodes.size(); ++n) {
      const std::vector<GraphStep>& steps = graph.nodes[n].steps;
      for (size_t i = 0; i < steps.size(); ++i) {
        if (steps[i].route.empty() || routes_.contains(steps[i].route)) continue;
        root_.problems().add(*at.node, fmt::format("{}.nodes[{}].steps[{}].route", at.path(), n, i),
                             fmt::format("there is no route '{}'", steps[i].route));
      }
    }
  }

  // Typed requests are understood by upstreams of their kind only.
  void sluice_too(const At& at, std::string_view field, const std::string& name) {
    const Upstream* found = find_upstream(name);
    if (found == nullptr || found->kind == UpstreamKind::kSluice) return;
    root_.problems().add(
        *at.node, fmt::format("{}.{}", at.path(), field),
        fmt::format("the upstream '{}' must be of kind sluice, as the targets are", name));
  }

  // A field that would be read and then ignored is a mistake: nobody would find out.
  void without_effect(const At& at, UpstreamKind over, Mentions mentions) {
    for (size_t i = 0; i < kWithoutEffect.size(); ++i) {
      const WithoutEffect& each = kWithoutEffect[i];
      if (each.over != over || (mentions & bit(i)) == 0) continue;
      const Node* found = find(*at.node, each);
      const std::string dot = each.field.empty() ? "" : ".";
      root_.problems().add(found == nullptr ? *at.node : *found,
                           fmt::format("{}.{}{}{}", at.path(), each.map, dot, each.field),
                           each.why);
    }
  }

  void tenant(const Tenant& tenant, const At& at) {
    const auto known = [&](const std::vector<std::string>& names) {
      for (const std::string& name : names) {
        if (!routes_.contains(name) && !graphs_.contains(name)) {
          root_.problems().add(*at.node, at.path(), fmt::format("there is no route '{}'", name));
        }
      }
    };
    known(tenant.routes);
    for (const ApiKey& key : tenant.keys) {
      known(key.routes);
      if (keys_.insert(key.digest.hex()).second) continue;
      root_.problems().add(*at.node, at.path(),
                           fmt::format("the key '{}' is another key's too", key.name));
    }
  }

  const Upstream* find_upstream(std::string_view name) const {
    const auto found = upstreams_.find(name);
    return found == upstreams_.end() ? nullptr : found->second;
  }

  const Plan& plan_;
  const std::span<const Mentions> mentions_;
  Fields& root_;
  std::unordered_map<std::string_view, const Upstream*> upstreams_;
  std::unordered_set<std::string_view> prefixes_;
  std::unordered_set<std::string_view> routes_;
  std::unordered_set<std::string_view> graphs_;
  std::unordered_set<std::string> keys_;
};

}  // namespace

Mentions mentions_of(const Node& route) {
  Mentions mentions = 0;
  for (size_t i = 0; i < kWithoutEffect.size(); ++i) {
    if (find(route, kWithoutEffect[i]) != nullptr) mentions |= bit(i);
  }
  return mentions;
}

void check_references(const Plan& plan, std::span<const Mentions> mentions, Fields& root) {
  References(plan, mentions, root).check();
}

}  // namespace sluice::plan
