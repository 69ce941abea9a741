#include "gateway/snapshot.h"

#include <algorithm>
#include <span>
#include <utility>

namespace sluice::gateway {
namespace {

// "name" or "prefix*".
bool matches_pattern(std::string_view pattern, std::string_view text) {
  if (!pattern.ends_with('*')) return pattern == text;
  pattern.remove_suffix(1);
  return text.starts_with(pattern);
}

bool any_matches(const std::vector<std::string>& patterns, std::string_view text) {
  return std::ranges::any_of(patterns,
                             [&](const auto& pattern) { return matches_pattern(pattern, text); });
}

bool headers_match(const std::vector<plan::HeaderMatch>& wanted, const net::Headers& headers) {
  return std::ranges::all_of(wanted, [&](const plan::HeaderMatch& each) {
    return std::ranges::any_of(headers, [&](const auto& header) {
      return net::equals_ignoring_case(header.first, each.name) &&
             (!each.value || header.second == *each.value);
    });
  });
}

// Two lists narrow each other; an empty one leaves all.
bool in_both(const std::vector<std::string>& a, const std::vector<std::string>& b,
             std::string_view name) {
  return (a.empty() || any_matches(a, name)) && (b.empty() || any_matches(b, name));
}

}  // namespace

Snapshot::Snapshot(std::shared_ptr<const plan::Plan> plan, const Snapshot* before,
                   const Clock& clock, const UpstreamTls& tls)
    : plan_(std::move(plan)) {
  for (const plan::Upstream& settings : plan_->upstreams) {
    const auto opened = tls.find(settings.name);
    const TlsPtr context = opened == tls.end() ? nullptr : opened->second;
    std::shared_ptr<Upstream> upstream;
    if (before != nullptr) {
      // One that becomes of another kind is another one: a request that began before goes on with
      // the kind and the credentials that it knows.
      if (const auto old = before->upstreams_.find(settings.name);
          old != before->upstreams_.end() && old->second->settings()->kind == settings.kind) {
        upstream = old->second;
        upstream->configure(settings, context);
      }
    }
    if (!upstream) upstream = std::make_shared<Upstream>(settings, context);
    upstreams_.emplace(settings.name, std::move(upstream));
  }
  const auto find = [this](const std::string& name) { return upstreams_.at(name); };
  routes_.reserve(plan_->routes.size());
  for (const plan::Route& settings : plan_->routes) {
    const Route* old = before == nullptr ? nullptr : before->find_route(settings.name);
    auto memory = old != nullptr ? old->memory() : std::make_shared<RouteMemory>(settings);
    memory->admission->configure(settings.queue);
    routes_.push_back(std::make_unique<Route>(plan_, settings, std::move(memory), find, clock));
    index(routes_.size() - 1);
    has_public_route_ = has_public_route_ || settings.is_public;
    for (const std::string& model : settings.match.models) {
      if (!model.ends_with('*')) models_[model] = true;
    }
  }
  for (const plan::Graph& settings : plan_->graphs) {
    graphs_.push_back(std::make_unique<Graph>(plan_, settings));
    graphs_by_name_.emplace(settings.name, graphs_.back().get());
    has_public_route_ = has_public_route_ || settings.is_public;
    for (const std::string& host : settings.hosts) graphs_by_host_.add(host, graphs_.size() - 1);
    for (const std::string& model : settings.models) {
      graphs_by_model_.emplace(model, graphs_.back().get());
      models_[model] = true;
    }
  }
  want_blocks();
  for (const plan::Tenant& tenant : plan_->tenants) {
    for (const plan::ApiKey& key : tenant.keys) {
      keys_.emplace(key.digest.hex(), KeyEntry{key.digest, {&tenant, &key}});
    }
  }
}

// What the replicas' caches hold is asked for where some route goes by it.
void Snapshot::want_blocks() {
  std::map<std::string_view, size_t> capacities;
  for (const auto& route : routes_) {
    if (!route->exact()) continue;
    for (const auto& target : route->targets()) {
      size_t& capacity = capacities[target->upstream().name()];
      capacity = std::max(capacity, static_cast<size_t>(route->settings().prefix.index_blocks));
    }
  }
  for (const auto& [name, upstream] : upstreams_) upstream->want_blocks(capacities[name]);
}

// A request looks at the routes that may take its model only: there may be a thousand others.
void Snapshot::index(size_t route) {
  const plan::Route& settings = routes_[route]->settings();
  by_name_.emplace(settings.name, routes_[route].get());
  if (const std::string& prefix = settings.match.prefix; !prefix.empty()) {
    by_prefix_.emplace(prefix, routes_[route].get());
    return;
  }
  const auto& models = settings.match.models;
  const bool exact =
      std::ranges::none_of(models, [](const std::string& model) { return model.ends_with('*'); });
  if (models.empty() || !exact) {
    if (settings.match.hosts.empty()) others_.push_back(route);
    for (const std::string& host : settings.match.hosts) by_host_.add(host, route);
    return;
  }
  for (const std::string& model : models) {
    auto& there = by_model_[model];
    if (there.empty() || there.back() != route) there.push_back(route);
  }
}

Route* Snapshot::find_route(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

Route* Snapshot::match_prefix(const net::HttpRequest& request) const {
  const std::string_view path = request.path;
  const size_t second = by_prefix_.empty() ? std::string_view::npos : path.find('/', 1);
  if (second == std::string_view::npos) return nullptr;
  const std::string_view prefix = path.substr(0, path.find('/', second + 1));
  const auto found = by_prefix_.find(prefix);
  // One that is spelled in another way in the target could not be taken off there.
  return found != by_prefix_.end() && request.target.starts_with(prefix) ? found->second : nullptr;
}

Route* Snapshot::match(const net::HttpRequest& request,
                       const std::optional<std::string>& model) const {
  HostIndex::Lists candidates{std::span<const size_t>(others_)};
  if (model) {
    const auto named = by_model_.find(*model);
    if (named != by_model_.end()) candidates.emplace_back(named->second);
  }
  const std::string host = host_name(request.header("host"));
  by_host_.find(host, candidates);
  while (true) {
    // Each list is in the plan's order: the next is the least of their first ones.
    size_t next = routes_.size();
    for (const auto& list : candidates) {
      if (!list.empty()) next = std::min(next, list.front());
    }
    if (next == routes_.size()) return nullptr;
    for (auto& list : candidates) {
      if (!list.empty() && list.front() == next) list = list.subspan(1);
    }
    const auto& route = routes_[next];
    const plan::RouteMatch& match = route->settings().match;
    if (!match.models.empty() && (!model || !takes_model(match, *model))) continue;
    if (!match.paths.empty() && !any_matches(match.paths, request.path)) continue;
    if (!match.hosts.empty() && !host_matches(match.hosts, host)) continue;
    if (headers_match(match.headers, request.headers)) return route.get();
  }
}

bool Snapshot::takes_model(const plan::RouteMatch& match, std::string_view model) {
  return match.models.empty() || any_matches(match.models, model);
}

std::optional<Caller> Snapshot::find_caller(std::string_view key, double unix_now) const {
  const SecretDigest digest(key);
  const auto found = keys_.find(digest.hex());
  if (found == keys_.end() || !found->second.digest.matches(digest)) return std::nullopt;
  const auto& expires = found->second.caller.key->expires_unix;
  if (expires && unix_now >= *expires) return std::nullopt;
  return found->second.caller;
}

const Graph* Snapshot::match_graph(const net::HttpRequest& request,
                                   const std::optional<std::string>& model) const {
  if (graphs_.empty()) return nullptr;
  constexpr std::string_view kPath = "/v1/graphs/";
  if (request.path.starts_with(kPath)) {
    const auto found = graphs_by_name_.find(std::string_view(request.path).substr(kPath.size()));
    return found == graphs_by_name_.end() ? nullptr : found->second;
  }
  if (model) {
    const auto found = graphs_by_model_.find(*model);
    if (found != graphs_by_model_.end()) return found->second;
  }
  if (graphs_by_host_.empty()) return nullptr;
  HostIndex::Lists found;
  graphs_by_host_.find(host_name(request.header("host")), found);
  size_t first = graphs_.size();
  for (const auto& list : found) first = std::min(first, list.front());
  return first == graphs_.size() ? nullptr : graphs_[first].get();
}

namespace {

bool may_use(const Caller& caller, std::string_view name, std::string_view model) {
  if (caller.tenant == nullptr) return false;
  return in_both(caller.tenant->routes, caller.key->routes, name) &&
         (model.empty() || in_both(caller.tenant->models, caller.key->models, model));
}

}  // namespace

bool Snapshot::allowed(const Caller& caller, const plan::Route& route, std::string_view model) {
  return route.is_public || may_use(caller, route.name, model);
}

bool Snapshot::allowed(const Caller& caller, const plan::Graph& graph, std::string_view model) {
  return graph.is_public || may_use(caller, graph.name, model);
}

std::vector<std::string> Snapshot::models_of(const Caller& caller) const {
  std::vector<std::string> names;
  for (const auto& route : routes_) {
    if (!route->settings().listed) continue;
    for (const std::string& model : route->settings().match.models) {
      if (model.ends_with('*') || !allowed(caller, route->settings(), model)) continue;
      if (std::ranges::find(names, model) == names.end()) names.push_back(model);
    }
  }
  for (const auto& graph : graphs_) {
    if (!graph->settings().listed) continue;
    for (const std::string& model : graph->settings().models) {
      if (!allowed(caller, graph->settings(), model)) continue;
      if (std::ranges::find(names, model) == names.end()) names.push_back(model);
    }
  }
  return names;
}

std::string_view Snapshot::model_label(std::string_view model) const {
  if (model.empty()) return "";
  const auto found = models_.find(model);
  return found == models_.end() ? std::string_view("other") : std::string_view(found->first);
}

}  // namespace sluice::gateway
