// Providers → foreign upstreams and a route for each model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <tuple>

#include "control/json_util.h"
#include "platform/names.h"
#include "platform/plan_draft.h"
#include "platform/replica_environment.h"
#include "platform/views.h"

namespace sluice::platform {
namespace {

using control::object_at;
using control::text_at;

constexpr double kMaxTimeout = 86'400;
constexpr int64_t kMaxOutstanding = 1'000'000;
constexpr std::string_view kVersionPath = "/v1";

std::string upstream_of(const control::StoredObject& provider) {
  return fmt::format("provider:{}/{}", provider.ns, provider.name);
}

struct Offer {
  const control::StoredObject* provider;
  std::string remote;
};
using ModelKey = std::tuple<std::string, std::string>;  // namespace, model

struct Offers {
  std::map<ModelKey, std::vector<Offer>> models;
};

std::vector<const control::StoredObject*> sorted(const PlanDraft& draft) {
  std::vector<const control::StoredObject*> out;
  out.reserve(draft.input.providers.size());
  for (const control::ObjectPtr& each : draft.input.providers) out.push_back(each.get());
  std::ranges::sort(out, {}, [](const auto* each) { return std::pair(each->ns, each->name); });
  return out;
}

template <typename F>
void each_model(const control::StoredObject& provider, F&& use) {
  const auto* models = control::array_at(spec_of(provider), "models");
  for (size_t i = 0; models != nullptr && i < models->size(); ++i) {
    const auto* model = (*models)[i].if_object();
    if (model == nullptr || text_at(*model, "name").empty()) continue;
    use(text_at(*model, "name"), text_at(*model, "remoteName"));
  }
}

// A base URL may carry a path, with or without the API's version: requests bring the version.
void split_url(std::string_view url, std::string& base, std::string& prefix) {
  const size_t host = url.find("://");
  const size_t path = host == std::string_view::npos ? host : url.find('/', host + 3);
  base = url.substr(0, path);
  prefix = path == std::string_view::npos ? "" : url.substr(path);
  while (prefix.ends_with('/')) prefix.pop_back();
  if (prefix.ends_with(kVersionPath)) prefix.resize(prefix.size() - kVersionPath.size());
  while (prefix.ends_with('/')) prefix.pop_back();
}

// {"file": …} of what the reference names; nothing, with a problem told, where that is no secret
// for a header.
std::optional<json::object> secret_of(PlanDraft& draft, const control::StoredObject& provider,
                                      const json::object& reference, std::string_view field) {
  const std::string_view name = text_at(reference, "secretName");
  const std::string_view key = text_at(reference, "key");
  const auto secret =
      draft.input.find_secret ? draft.input.find_secret(provider.ns, name) : nullptr;
  const auto value = secret == nullptr ? std::nullopt : value_of_key(secret->body, key);
  if (const auto good = value ? header_secret(*value) : std::nullopt) return draft.secret(*good);
  draft.problem(provider, fmt::format("spec.{}: the key \"{}\" of the Secret \"{}\" {}", field, key,
                                      name, value ? "holds no plain text" : "is not there"));
  return std::nullopt;
}

// False, with a problem told, when one cannot be sent.
bool add_headers(PlanDraft& draft, const control::StoredObject& provider, json::object& upstream) {
  const auto* list = control::array_at(spec_of(provider), "headers");
  json::object headers;
  for (size_t i = 0; list != nullptr && i < list->size(); ++i) {
    const auto* header = (*list)[i].if_object();
    if (header == nullptr) continue;
    json::value& value = headers[text_at(*header, "name")];
    value = text_at(*header, "value");
    const auto* reference = object_at(*header, "secret");
    if (reference == nullptr) continue;
    auto secret = secret_of(draft, provider, *reference, fmt::format("headers[{}].secret", i));
    if (!secret) return false;
    value = *std::move(secret);
  }
  if (!headers.empty()) upstream["headers"] = std::move(headers);
  return true;
}

// Nothing, with a problem told, when it cannot be asked.
std::optional<json::object> upstream(PlanDraft& draft, const control::StoredObject& provider) {
  const json::object& spec = spec_of(provider);
  std::string base;
  std::string prefix;
  split_url(text_at(spec, "url"), base, prefix);
  json::object out{{"name", upstream_of(provider)},
                   {"kind", "foreign"},
                   {"endpoints", json::array{json::object{{"name", provider.name}, {"url", base}}}},
                   {"health", json::object{{"active", false}}}};
  if (!prefix.empty()) out["path_prefix"] = prefix;
  if (text_at(spec, "protocol") == "anthropic") out["protocol"] = "anthropic";
  if (const auto most = control::integer_at(spec, "maxOutstanding"); most && *most > 0) {
    out["max_outstanding"] = std::min(*most, kMaxOutstanding);
  }
  if (!add_headers(draft, provider, out)) return std::nullopt;
  const auto* key = object_at(spec, "apiKey");
  if (key == nullptr) return out;
  auto secret = secret_of(draft, provider, *key, "apiKey");
  if (!secret) return std::nullopt;
  out["api_key"] = *std::move(secret);
  return out;
}

// The longest time of those that serve a model together bounds a request.
std::optional<int64_t> timeout_ms(const std::vector<Offer>& offers) {
  double longest = 0;
  for (const Offer& each : offers) {
    const auto given = control::number_at(spec_of(*each.provider), "timeoutSeconds");
    if (!given) return std::nullopt;
    longest = std::max(longest, *given);
  }
  return std::llround(std::min(longest, kMaxTimeout) * 1000);
}

json::object model_route(PlanDraft& draft, const std::string& ns, const std::string& model,
                         const std::vector<Offer>& offers) {
  json::array targets;
  for (const Offer& each : offers) {
    json::object target{
        {"upstream", upstream_of(*each.provider)},
        {"weight", control::number_at(spec_of(*each.provider), "weight").value_or(1)}};
    target["model"] = each.remote.empty() ? model : each.remote;
    targets.push_back(std::move(target));
  }
  json::object route{{"name", model_route_name(ns, model)},
                     {"match", json::object{{"models", draft.names.of(ns, model)}}},
                     {"targets", std::move(targets)}};
  if (const auto ms = timeout_ms(offers); ms && *ms > 0) {
    const std::string text = fmt::format("{}ms", *ms);
    route["timeouts"] = json::object{{"total", text}, {"first_byte", text}, {"idle", text}};
  }
  return route;
}

}  // namespace

void claim_providers(PlanDraft& draft) {
  for (const auto* provider : sorted(draft)) {
    each_model(*provider, [&](std::string_view name, std::string_view) {
      draft.names.claim(provider->ns, name);
    });
  }
}

void add_providers(PlanDraft& draft) {
  std::set<std::string, std::less<>> graphs;
  for (const control::ObjectPtr& each : draft.input.graphs) {
    graphs.insert(route_name(each->ns, each->name));
  }
  Offers offers;
  for (const auto* provider : sorted(draft)) {
    const auto made = upstream(draft, *provider);
    if (!made || !draft.has_room(*provider, 1, 0)) continue;
    const json::object probe{
        {"name", "probe"},
        {"targets", json::array{json::object{{"upstream", upstream_of(*provider)}}}}};
    const std::string refusal =
        draft.refusal(json::array{json::value(*made)}, json::array{json::value(probe)});
    if (!refusal.empty()) {
      draft.problem(*provider, "spec: " + refusal);
      continue;
    }
    draft.upstreams.push_back(*made);
    if (control::number_at(spec_of(*provider), "weight").value_or(1) <= 0) continue;
    each_model(*provider, [&](std::string_view name, std::string_view remote) {
      offers.models[{provider->ns, std::string(name)}].push_back({provider, std::string(remote)});
    });
  }
  for (const auto& [key, offered] : offers.models) {
    const auto& [ns, model] = key;
    json::object route = model_route(draft, ns, model, offered);
    const std::string name(route["name"].get_string());
    if (draft.route_names.contains(name) || graphs.contains(name)) {
      draft.problem(*offered.front().provider,
                    fmt::format("spec.models: \"{}\" is another object's name already, which "
                                "takes its requests",
                                model));
      continue;
    }
    if (!draft.has_room(*offered.front().provider, 0, 1)) continue;
    json::array used;
    used.reserve(offered.size());
    for (const Offer& each : offered) {
      used.push_back(
          json::object{{"name", upstream_of(*each.provider)}, {"endpoints", json::array()}});
    }
    const std::string refusal = draft.refusal(used, json::array{json::value(route)});
    if (!refusal.empty()) {
      draft.problem(*offered.front().provider, "spec.models: " + refusal);
      continue;
    }
    draft.add_route(std::move(route), {});
  }
}

}  // namespace sluice::platform
