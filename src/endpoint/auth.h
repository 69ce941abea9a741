// Who may call: API keys for the public routes, one token for the internal ones.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/secret.h"
#include "base/status.h"
#include "net/http.h"

namespace sluice::endpoint {

// The one credential that a request presents ("Authorization: Bearer KEY" or "X-Api-Key: KEY");
// nothing when it presents none. Two are refused: what checks and what acts must not read
// different ones.
Result<std::optional<std::string_view>> credential_of(const net::HttpRequest& request);

// Immutable; callable from any thread.
class Auth {
 public:
  Auth(const std::vector<std::string>& api_keys, const std::string& internal_token);

  bool open() const { return keys_.empty(); }

  // The caller's tenant (a name made of its key's digest; empty where no keys are set), from
  // "Authorization: Bearer KEY" or "X-Api-Key: KEY".
  Result<std::string> check(const net::HttpRequest& request) const;

  // Internal routes exist only where a token was configured: without, they answer 404.
  Outcome check_internal(const net::HttpRequest& request) const;

 private:
  std::vector<SecretDigest> keys_;
  std::optional<SecretDigest> internal_;
};

}  // namespace sluice::endpoint
