// Snapshot: a plan at work. Immutable but for what its parts count; replaced whole on a reload.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/secret.h"
#include "gateway/graph.h"
#include "gateway/host_index.h"
#include "gateway/route.h"
#include "gateway/upstream.h"
#include "gateway/upstream_tls.h"
#include "net/http.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Whom a key belongs to. Points into the plan of the snapshot that made it.
struct Caller {
  const plan::Tenant* tenant = nullptr;  // null: nobody, on a public route
  const plan::ApiKey* key = nullptr;

  std::string_view tenant_name() const {
    return tenant == nullptr ? std::string_view() : std::string_view(tenant->name);
  }
  std::string_view key_name() const {
    return key == nullptr ? std::string_view() : std::string_view(key->name);
  }
};

class Snapshot {
 public:
  // Keeps the state of upstreams and routes that `before` (may be null) has by the same names.
  // `tls` is open_upstream_tls() of the plan.
  Snapshot(std::shared_ptr<const plan::Plan> plan, const Snapshot* before, const Clock& clock,
           const UpstreamTls& tls = {});

  const plan::Plan& plan() const { return *plan_; }
  const std::vector<std::unique_ptr<Route>>& routes() const { return routes_; }
  const std::map<std::string, std::shared_ptr<Upstream>>& upstreams() const { return upstreams_; }

  // The route of the prefix that path and target begin with; null: they begin with none.
  Route* match_prefix(const net::HttpRequest& request) const;
  // The first route, in the plan's order, that takes the request; null when none does.
  Route* match(const net::HttpRequest& request, const std::optional<std::string>& model) const;
  // The graph that a request asks for; null when it asks for none.
  const Graph* match_graph(const net::HttpRequest& request,
                           const std::optional<std::string>& model) const;
  static bool takes_model(const plan::RouteMatch& match, std::string_view model);
  Route* find_route(std::string_view name) const;

  // The caller of a key; nothing when it is unknown or expired.
  std::optional<Caller> find_caller(std::string_view key, double unix_now) const;
  // Whether the caller may use the route for the model.
  static bool allowed(const Caller& caller, const plan::Route& route, std::string_view model);
  static bool allowed(const Caller& caller, const plan::Graph& graph, std::string_view model);
  bool has_public_route() const { return has_public_route_; }

  // Names that a caller may ask for.
  std::vector<std::string> models_of(const Caller& caller) const;
  // The model as a label: itself when some route names it, else "other" ("" stays).
  std::string_view model_label(std::string_view model) const;

 private:
  void want_blocks();
  void index(size_t route);

  struct KeyEntry {
    SecretDigest digest;
    Caller caller;
  };

  const std::shared_ptr<const plan::Plan> plan_;
  std::map<std::string, std::shared_ptr<Upstream>> upstreams_;
  std::vector<std::unique_ptr<Route>> routes_;
  std::vector<std::unique_ptr<Graph>> graphs_;
  std::unordered_map<std::string_view, const Graph*> graphs_by_name_;
  std::unordered_map<std::string_view, const Graph*> graphs_by_model_;
  HostIndex graphs_by_host_;
  std::unordered_map<std::string_view, Route*> by_name_;
  std::unordered_map<std::string_view, Route*> by_prefix_;
  // Where routes stand that take a model by its name alone; of the others those of some hosts
  // only; and the rest. In the plan's order.
  std::unordered_map<std::string_view, std::vector<size_t>> by_model_;
  HostIndex by_host_;
  std::vector<size_t> others_;
  std::unordered_map<std::string, KeyEntry> keys_;  // by the digest's hex
  std::map<std::string, bool, std::less<>> models_;
  bool has_public_route_ = false;
};

}  // namespace sluice::gateway
