#include "platform/plan_draft.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/secret.h"
#include "plan/parse.h"
#include "platform/names.h"

namespace sluice::platform {
namespace {

constexpr std::string_view kDefaultNamespace = "default";
constexpr size_t kMaxSecretBytes = 4096;
constexpr size_t kMaxTextBytes = 256;
constexpr size_t kSecretNameDigits = 32;

}  // namespace

bool ModelNames::claim(std::string_view ns, std::string_view name) {
  return claims_[std::string(name)].insert(std::string(ns)).second;
}

void ModelNames::claim_extra(std::string_view ns, std::string_view owner, std::string_view name) {
  extra_[std::string(name)].emplace(ns, owner);
  extra_of_[{std::string(ns), std::string(owner)}].emplace(name);
}

bool ModelNames::has_short(std::string_view ns, std::string_view name) const {
  const auto found = claims_.find(name);
  if (found == claims_.end() || !found->second.contains(std::string(ns))) return false;
  return ns == kDefaultNamespace ||
         (found->second.size() == 1 && !found->second.contains(std::string(kDefaultNamespace)));
}

json::array ModelNames::of(std::string_view ns, std::string_view name) const {
  json::array out;
  if (has_short(ns, name)) out.emplace_back(name);
  out.emplace_back(route_name(ns, name));
  const auto extras = extra_of_.find({std::string(ns), std::string(name)});
  if (extras == extra_of_.end()) return out;
  for (const std::string& extra : extras->second) {
    if (extra_.at(extra).size() == 1 && !claims_.contains(extra)) out.emplace_back(extra);
  }
  return out;
}

PlanDraft::PlanDraft(const PlanInput& input, const PlanSettings& settings)
    : input(input), settings(settings), is_public(input.tenants.empty()) {
  for (const PlanRevision& each : input.revisions) {
    using Name = std::pair<std::string_view, std::string_view>;
    revisions_.emplace(Name(each.object->ns, each.object->name), &each);
  }
}

const PlanRevision* PlanDraft::find_revision(std::string_view ns, std::string_view name) const {
  const auto found = revisions_.find({ns, name});
  return found == revisions_.end() ? nullptr : found->second;
}

void PlanDraft::problem(const control::StoredObject& object, std::string message) {
  problems.push_back({control::key_of(object), std::move(message)});
}

json::object PlanDraft::secret(const std::string& text) {
  std::string name = SecretDigest(text).hex().substr(0, kSecretNameDigits);
  std::string path = (settings.secrets_folder / name).string();
  secrets.emplace(std::move(name), text);
  return {{"file", std::move(path)}};
}

json::array PlanDraft::hosts(std::string_view ns, std::string_view name) const {
  const std::string base = fmt::format("{}.{}", name, ns);
  json::array out{json::value(base)};
  for (const std::string& domain : settings.domains) {
    out.emplace_back(fmt::format("{}.{}", base, domain));
  }
  return out;
}

void PlanDraft::add_route(json::object route, json::array hosts) {
  const std::string name(route["name"].get_string());
  if (is_public) route["public"] = true;
  if (!hosts.empty()) {
    json::object by_host = route;
    std::string host_name = name + "@host";
    by_host["name"] = host_name;
    json::object match{{"hosts", std::move(hosts)}};
    if (const auto* given = route["match"].if_object()) {
      if (const json::value* paths = given->if_contains("paths")) match["paths"] = *paths;
    }
    by_host["match"] = std::move(match);
    by_host["listed"] = false;
    route_names.insert(host_name);
    host_route_of.emplace(name, std::move(host_name));
    host_routes.push_back(std::move(by_host));
  }
  route_names.insert(name);
  routes.push_back(std::move(route));
}

std::string PlanDraft::refusal(const json::array& with_upstreams, const json::array& with_routes,
                               const json::array& with_graphs,
                               const json::array& with_tenants) const {
  json::object plan{
      {"upstreams", with_upstreams}, {"routes", with_routes}, {"tenants", with_tenants}};
  if (!with_graphs.empty()) plan["graphs"] = with_graphs;
  const plan::SecretSource secrets_here{
      .environment = [](const std::string&) -> Result<std::string> { return "x"; },
      .file = [](const std::string&) -> Result<std::string> { return "x"; }};
  const auto good = plan::plan_from_json(plan, secrets_here);
  return good ? std::string() : good.error().message();
}

bool PlanDraft::has_room(const control::StoredObject& object, size_t more_upstreams,
                         size_t more_routes) {
  if (upstreams.size() + more_upstreams <= plan::kMaxUpstreams &&
      routes.size() + host_routes.size() + more_routes <= plan::kMaxRoutes) {
    return true;
  }
  problem(object, fmt::format("the gateway takes at most {} upstreams and {} routes",
                              plan::kMaxUpstreams, plan::kMaxRoutes));
  return false;
}

std::string model_route_name(std::string_view ns, std::string_view model) {
  std::string name = route_name(ns, model);
  for (char& c : name) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                      std::string_view("-_./:").contains(c);
    if (!good) c = '-';
  }
  return name;
}

bool is_plain(std::string_view text) {
  return !text.empty() && text.size() <= kMaxTextBytes && std::ranges::all_of(text, [](char c) {
    return static_cast<unsigned char>(c) >= 0x20 && c != 0x7f;
  });
}

std::optional<std::string> header_secret(std::string value) {
  while (!value.empty() && (value.back() == '\n' || value.back() == '\r')) value.pop_back();
  const bool good = !value.empty() && value.size() <= kMaxSecretBytes &&
                    std::ranges::all_of(value, [](char c) { return c > 0x20 && c < 0x7f; });
  if (!good) return std::nullopt;
  return value;
}

}  // namespace sluice::platform
