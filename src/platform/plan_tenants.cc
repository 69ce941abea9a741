// Tenants and their ApiKeys → tenants of the plan.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "base/secret.h"
#include "control/json_util.h"
#include "control/scalars.h"
#include "platform/names.h"
#include "platform/plan_draft.h"
#include "platform/replica_environment.h"
#include "platform/views.h"

namespace sluice::platform {
namespace {

using control::object_at;
using control::text_at;

using Key = std::pair<std::string_view, std::string_view>;  // namespace, name

struct LimitField {
  std::string_view object;
  std::string_view plan;
};
constexpr std::array kCounts = {LimitField{"requestsPerMinute", "requests_per_minute"},
                                LimitField{"tokensPerMinute", "tokens_per_minute"},
                                LimitField{"tokensPerDay", "tokens_per_day"},
                                LimitField{"concurrency", "concurrency"}};
constexpr std::array kMoney = {LimitField{"moneyPerDay", "money_per_day"},
                               LimitField{"moneyPerMonth", "money_per_month"}};

void add_limits(const json::object& spec, json::object& out) {
  const auto* given = object_at(spec, "limits");
  if (given == nullptr) return;
  json::object limits;
  for (const auto& [from, to] : kCounts) {
    if (const auto count = control::integer_at(*given, from); count && *count > 0) {
      limits[to] = *count;
    }
  }
  for (const auto& [from, to] : kMoney) {
    if (const auto money = control::number_at(*given, from); money && *money > 0) {
      limits[to] = *money;
    }
  }
  if (!limits.empty()) out["limits"] = std::move(limits);
}

void add_models(const json::object& spec, json::object& out) {
  const auto* models = control::array_at(spec, "models");
  if (models != nullptr && !models->empty()) out["models"] = *models;
}

// Routes by the names of their objects. False: of those that are named none is there, which must
// not be read as all of them.
bool add_routes(const PlanDraft& draft, std::string_view ns, const json::object& spec,
                json::object& out) {
  const auto* given = control::array_at(spec, "routes");
  if (given == nullptr || given->empty()) return true;
  std::set<std::string> routes;
  for (const json::value& each : *given) {
    if (!each.is_string()) continue;
    const std::string_view name = each.get_string();
    const std::string route = name.contains('/') ? std::string(name) : route_name(ns, name);
    if (!draft.route_names.contains(route) && !draft.graph_names.contains(route)) continue;
    if (const auto by_host = draft.host_route_of.find(route);
        by_host != draft.host_route_of.end()) {
      routes.insert(by_host->second);
    }
    routes.insert(route);
  }
  if (routes.empty()) return false;
  out["routes"] = json::array(routes.begin(), routes.end());
  return true;
}

class TenantWriter {
 public:
  explicit TenantWriter(PlanDraft& draft) : draft_(draft) {}

  void write() {
    std::map<Key, const control::StoredObject*> tenants;
    for (const control::ObjectPtr& each : draft_.input.tenants) {
      tenants.emplace(Key(each->ns, each->name), each.get());
    }
    std::map<Key, const control::StoredObject*> keys;
    for (const control::ObjectPtr& each : draft_.input.keys) {
      keys.emplace(Key(each->ns, each->name), each.get());
    }
    std::map<Key, json::array> keys_of;
    for (const auto& [name, key] : keys) {
      const Key tenant(key->ns, text_at(spec_of(*key), "tenant"));
      if (!tenants.contains(tenant)) {
        draft_.problem(*key, fmt::format("spec.tenant: there is no Tenant \"{}\" in this namespace",
                                         tenant.second));
      } else if (auto made = key_of(*key); made && is_good(*key, {}, *made)) {
        keys_of[tenant].push_back(*std::move(made));
      }
    }
    for (const auto& [name, tenant] : tenants) add_tenant(*tenant, std::move(keys_of[name]));
  }

 private:
  void add_tenant(const control::StoredObject& tenant, json::array keys) {
    const json::object& spec = spec_of(tenant);
    json::object out{{"name", route_name(tenant.ns, tenant.name)}};
    add_models(spec, out);
    if (!add_routes(draft_, tenant.ns, spec, out)) {
      draft_.problem(tenant, "spec.routes: none of them is there, so its keys open nothing");
      keys.clear();
    }
    add_limits(spec, out);
    if (const auto priority = control::integer_at(spec, "priority")) out["priority"] = *priority;
    if (const auto weight = control::number_at(spec, "weight")) out["weight"] = *weight;
    if (!is_good(tenant, out, {})) return;
    if (!keys.empty()) out["keys"] = std::move(keys);
    draft_.tenants.push_back(std::move(out));
  }

  // What the plan would refuse is told here, and left out.
  bool is_good(const control::StoredObject& object, json::object tenant, const json::object& key) {
    static const json::array kUpstreams{
        json::object{{"name", "probe"}, {"endpoints", json::array()}}};
    if (tenant.empty()) tenant = {{"name", "probe"}, {"keys", json::array{json::value(key)}}};
    json::array routes;
    for (const auto* from : std::array<const json::object*, 2>{&tenant, &key}) {
      const auto* names = control::array_at(*from, "routes");
      for (size_t i = 0; names != nullptr && i < names->size(); ++i) {
        routes.push_back(json::object{
            {"name", (*names)[i]}, {"targets", json::array{json::object{{"upstream", "probe"}}}}});
      }
    }
    if (routes.empty()) {
      routes.push_back(json::object{{"name", "probe"},
                                    {"targets", json::array{json::object{{"upstream", "probe"}}}}});
    }
    const std::string refusal =
        draft_.refusal(kUpstreams, routes, {}, json::array{json::value(std::move(tenant))});
    if (!refusal.empty()) draft_.problem(object, "spec: " + refusal);
    return refusal.empty();
  }

  std::optional<json::object> key_of(const control::StoredObject& key) {
    const json::object& spec = spec_of(key);
    const auto digest = digest_of(key);
    if (!digest) return std::nullopt;
    const std::string hex = digest->hex();
    if (const auto [first, is_new] = digests_.emplace(hex, key.name); !is_new) {
      draft_.problem(key, fmt::format("the ApiKey \"{}\" has the same key", first->second));
      return std::nullopt;
    }
    json::object out{{"name", key.name}, {"sha256", hex}};
    add_models(spec, out);
    if (!add_routes(draft_, key.ns, spec, out)) {
      draft_.problem(key, "spec.routes: none of them is there, so the key opens nothing");
      return std::nullopt;
    }
    if (const std::string_view expires = text_at(spec, "expires"); !expires.empty()) {
      const auto unix = control::parse_time(expires);
      if (!unix) {
        draft_.problem(key, "spec.expires: expected a time such as 2030-01-31T00:00:00Z");
        return std::nullopt;
      }
      out["expires"] = control::time_text(*unix);
    }
    if (control::true_at(spec, "admin")) out["admin"] = true;
    add_limits(spec, out);
    return out;
  }

  std::optional<SecretDigest> digest_of(const control::StoredObject& key) {
    const json::object& spec = spec_of(key);
    if (const std::string_view hex = text_at(spec, "sha256"); !hex.empty()) {
      auto digest = SecretDigest::from_hex(hex);
      if (digest) return *digest;
      draft_.problem(key, "spec.sha256: " + digest.error().message());
      return std::nullopt;
    }
    const std::string_view name = text_at(spec, "secret.secretName");
    const std::string_view field = text_at(spec, "secret.key");
    const auto secret = draft_.input.find_secret ? draft_.input.find_secret(key.ns, name) : nullptr;
    const auto value = secret == nullptr ? std::nullopt : value_of_key(secret->body, field);
    const auto plain = value ? header_secret(*value) : std::nullopt;
    if (plain) return SecretDigest(*plain);
    draft_.problem(key, fmt::format("spec.secret: the key \"{}\" of the Secret \"{}\" {}", field,
                                    name, value ? "holds no plain text" : "is not there"));
    return std::nullopt;
  }

  PlanDraft& draft_;
  std::map<std::string, std::string> digests_;  // → name of the first that has it
};

}  // namespace

void add_tenants(PlanDraft& draft) { TenantWriter(draft).write(); }

}  // namespace sluice::platform
