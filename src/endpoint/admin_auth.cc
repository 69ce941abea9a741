#include "endpoint/admin_auth.h"

namespace sluice::endpoint {

Outcome AdminAuth::check(const net::HttpRequest& request) const {
  if (keys_.open()) {
    return fail(Code::kPermissionDenied, "this needs an admin key, and none is set (--admin-key)");
  }
  if (keys_.check(request)) return {};
  return fail(Code::kPermissionDenied, "this needs an admin key");
}

std::vector<std::string> public_keys(const std::vector<std::string>& api_keys,
                                     const std::vector<std::string>& admin_keys) {
  std::vector<std::string> keys = api_keys;
  if (!keys.empty()) keys.insert(keys.end(), admin_keys.begin(), admin_keys.end());
  return keys;
}

}  // namespace sluice::endpoint
