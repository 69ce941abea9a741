#include "control/access.h"

#include <fmt/format.h>

#include <algorithm>

namespace sluice::control {
namespace {

constexpr size_t kMaxTokenBytes = 512;

// "127.0.0.1:8001" → "127.0.0.1", "[::1]:8001" → "::1".
std::string_view host_part(std::string_view host) {
  if (host.starts_with('[')) {
    const size_t end = host.find(']');
    return end == std::string_view::npos ? host : host.substr(1, end - 1);
  }
  return host.substr(0, host.find(':'));
}

bool starts_with_bearer(std::string_view text) {
  constexpr std::string_view kScheme = "bearer ";
  if (text.size() < kScheme.size()) return false;
  return std::ranges::equal(text.substr(0, kScheme.size()), kScheme,
                            [](char a, char b) { return (a | 0x20) == (b | 0x20); });
}

}  // namespace

std::string_view role_name(Role role) {
  switch (role) {
    case Role::kView:
      return "view";
    case Role::kEdit:
      return "edit";
    case Role::kAdmin:
      return "admin";
  }
  return "view";
}

std::optional<Role> parse_role(std::string_view name) {
  for (const Role role : {Role::kView, Role::kEdit, Role::kAdmin}) {
    if (role_name(role) == name) return role;
  }
  return std::nullopt;
}

std::string_view verb_name(Verb verb) {
  switch (verb) {
    case Verb::kGet:
      return "get";
    case Verb::kList:
      return "list";
    case Verb::kWatch:
      return "watch";
    case Verb::kCreate:
      return "create";
    case Verb::kUpdate:
      return "update";
    case Verb::kPatch:
      return "patch";
    case Verb::kDelete:
      return "delete";
    case Verb::kDeleteCollection:
      return "deletecollection";
  }
  return "get";
}

bool is_write(Verb verb) {
  return verb != Verb::kGet && verb != Verb::kList && verb != Verb::kWatch;
}

ApiResult<Identity> Access::identify(std::string_view authorization) const {
  if (starts_with_bearer(authorization)) {
    const std::string_view token = authorization.substr(authorization.find(' ') + 1);
    if (token.size() <= kMaxTokenBytes) {
      const SecretDigest digest(token);
      for (const Token& each : tokens_) {
        if (each.digest.matches(digest)) return each.identity;
      }
    }
  }
  return std::unexpected(
      ApiError(401, "Unauthorized",
               authorization.empty()
                   ? "Unauthorized: send the token of a kubeconfig that the controller wrote "
                     "(kubectl --kubeconfig …)"
                   : "Unauthorized: this token is not known here"));
}

ApiOutcome Access::check_source(std::string_view host, std::string_view origin) const {
  const std::string_view name = host_part(host);
  if (std::ranges::find(hosts_, name) == hosts_.end()) {
    return std::unexpected(
        ApiError(403, "Forbidden",
                 fmt::format("the Host \"{}\" is none of this server's", host.substr(0, 100))));
  }
  if (!origin.empty()) {
    return std::unexpected(
        ApiError(403, "Forbidden", "requests of pages in a browser (Origin) are not accepted"));
  }
  return {};
}

ApiOutcome Access::authorize(const Identity& who, Verb verb, const ResourceType& type,
                             std::string_view ns, std::string_view name) {
  const bool deletes = verb == Verb::kDelete || verb == Verb::kDeleteCollection;
  if (type.own_writes && is_write(verb) && !(deletes && type.users_delete)) {
    return forbidden(
        {std::string(type.group), std::string(type.plural), std::string(type.kind),
         std::string(name)},
        fmt::format("a {} is made and changed by the control plane only: change the "
                    "InferenceService that it belongs to{}",
                    type.kind, type.users_delete ? ", or delete it to have it replaced" : ""));
  }
  if (who.role == Role::kAdmin) return {};
  const bool hidden = who.role == Role::kView && (is_write(verb) || type.secret);
  const bool above = who.role == Role::kEdit && is_write(verb) && type.admin_writes;
  if (!hidden && !above) return {};
  const std::string place =
      type.namespaced && !ns.empty() ? fmt::format(" in the namespace \"{}\"", ns) : std::string();
  return forbidden(
      {std::string(type.group), std::string(type.plural), std::string(type.kind),
       std::string(name)},
      fmt::format("User \"{}\" cannot {} resource \"{}\" in API group \"{}\"{}: it has "
                  "the role {}",
                  who.name, verb_name(verb), type.plural, type.group, place, role_name(who.role)));
}

}  // namespace sluice::control
