// PlanDraft: the plan as it is being put together by write_plan(). Internal to the plan writer:
// plan_services.cc, plan_providers.cc, plan_graphs.cc and plan_tenants.cc each add their part, in
// this order: graphs name routes.
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "platform/plan_writer.h"

namespace sluice::platform {

// Which names clients may use without a namespace: in "default" all, elsewhere those that are
// nobody else's.
class ModelNames {
 public:
  // Who comes first keeps a name of a namespace.
  bool claim(std::string_view ns, std::string_view name);
  // A further name that only counts where nobody else has it.
  void claim_extra(std::string_view ns, std::string_view owner, std::string_view name);

  // What the owner is asked for by: "<ns>/<name>", "<name>", and its further names.
  json::array of(std::string_view ns, std::string_view name) const;

 private:
  bool has_short(std::string_view ns, std::string_view name) const;

  std::map<std::string, std::set<std::string>, std::less<>> claims_;  // name → namespaces
  using Owner = std::pair<std::string, std::string>;
  std::map<std::string, std::set<Owner>, std::less<>> extra_;  // name → who wants it
  std::map<Owner, std::set<std::string>> extra_of_;
};

class PlanDraft {
 public:
  PlanDraft(const PlanInput& input, const PlanSettings& settings);

  const PlanInput& input;
  const PlanSettings& settings;
  const bool is_public;  // no tenant at all: nobody needs a key

  ModelNames names;
  json::array upstreams;
  std::set<std::string, std::less<>> upstream_names;  // of services' revisions: some share one
  json::array routes;
  json::array host_routes;  // stand before the others
  json::array graphs;
  json::array tenants;
  std::map<std::string, std::string> secrets;  // file name → text
  std::vector<PlanProblem> problems;
  std::vector<control::ObjectKey> services;  // that have a route
  std::set<std::string, std::less<>> route_names;
  std::set<std::string, std::less<>> graph_names;
  // Where a route has another one for its hosts.
  std::map<std::string, std::string, std::less<>> host_route_of;

  // Null when there is none.
  const PlanRevision* find_revision(std::string_view ns, std::string_view name) const;

  void problem(const control::StoredObject& object, std::string message);
  // {"file": …} of a secret that publish_plan() will write.
  json::object secret(const std::string& text);
  // "<name>.<ns>" and with each domain behind.
  json::array hosts(std::string_view ns, std::string_view name) const;
  void add_route(json::object route, json::array hosts);

  // What a plan with nothing but these would be refused for; empty: it is good.
  std::string refusal(const json::array& with_upstreams, const json::array& with_routes,
                      const json::array& with_graphs = {},
                      const json::array& with_tenants = {}) const;

  // Whether the plan takes so many more; else told as a problem of the object.
  bool has_room(const control::StoredObject& object, size_t more_upstreams, size_t more_routes);

 private:
  std::map<std::pair<std::string_view, std::string_view>, const PlanRevision*> revisions_;
};

// The name of the route of a provider's model: its characters are the provider's, a route's are
// not.
std::string model_route_name(std::string_view ns, std::string_view model);

// A text that the plan takes: of 1 to 256 bytes without control characters.
bool is_plain(std::string_view text);

// A secret's value as it may go into a header field: without the line's end. Nothing where it may
// not.
std::optional<std::string> header_secret(std::string value);

// Claims of the names come first, for all kinds; then each adds what it has.
void claim_services(PlanDraft& draft);
void add_services(PlanDraft& draft);
void claim_graphs(PlanDraft& draft);
void add_graphs(PlanDraft& draft);
void claim_providers(PlanDraft& draft);
void add_providers(PlanDraft& draft);
void add_tenants(PlanDraft& draft);

}  // namespace sluice::platform
