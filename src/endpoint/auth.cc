#include "endpoint/auth.h"

#include <algorithm>

namespace sluice::endpoint {
namespace {

constexpr std::string_view kBearer = "Bearer ";

Result<std::string_view> credential(const net::HttpRequest& request) {
  SLUICE_ASSIGN_OR_RETURN(const auto found, credential_of(request));
  if (!found) {
    return fail(Code::kUnauthenticated,
                "an API key is needed: send it as \"Authorization: Bearer KEY\"", {},
                "missing_api_key");
  }
  return *found;
}

}  // namespace

Result<std::optional<std::string_view>> credential_of(const net::HttpRequest& request) {
  std::string_view found;
  int count = 0;
  for (const auto& [name, value] : request.headers) {
    const bool authorization = net::equals_ignoring_case(name, "authorization");
    if (!authorization && !net::equals_ignoring_case(name, "x-api-key")) continue;
    if (++count > 1) {
      return fail(Code::kUnauthenticated, "more than one credential was sent: send one API key");
    }
    found = value;
    if (!authorization) continue;
    if (found.size() < kBearer.size() ||
        !net::equals_ignoring_case(found.substr(0, kBearer.size()), kBearer)) {
      return fail(Code::kUnauthenticated,
                  "the Authorization header must be \"Bearer \" and an API key");
    }
    found.remove_prefix(kBearer.size());
  }
  if (found.empty()) return std::nullopt;
  return found;
}

Auth::Auth(const std::vector<std::string>& api_keys, const std::string& internal_token) {
  for (const std::string& key : api_keys) keys_.emplace_back(key);
  if (!internal_token.empty()) internal_.emplace(internal_token);
}

Result<std::string> Auth::check(const net::HttpRequest& request) const {
  if (keys_.empty()) return std::string();
  SLUICE_ASSIGN_OR_RETURN(const std::string_view key, credential(request));
  const SecretDigest digest(key);
  bool known = false;
  for (const SecretDigest& each : keys_) known = each.matches(digest) || known;
  if (known) return digest.short_name();
  return fail(Code::kUnauthenticated, "the API key is not valid", {}, "invalid_api_key");
}

Outcome Auth::check_internal(const net::HttpRequest& request) const {
  if (!internal_) return fail(Code::kNotFound, "no such path");
  SLUICE_ASSIGN_OR_RETURN(const std::string_view token, credential(request));
  if (internal_->matches(SecretDigest(token))) return {};
  return fail(Code::kUnauthenticated, "the internal token is not valid");
}

}  // namespace sluice::endpoint
