// Admin keys: who may change the model repository.
#pragma once

#include <string>
#include <vector>

#include "endpoint/auth.h"

namespace sluice::endpoint {

// Immutable; callable from any thread.
class AdminAuth {
 public:
  explicit AdminAuth(const std::vector<std::string>& keys) : keys_(keys, {}) {}

  // An admin key is needed also where no other key is; without any set, nobody may.
  Outcome check(const net::HttpRequest& request) const;

 private:
  const Auth keys_;
};

// The keys of all other routes: admin keys are good for those too. None where they are open.
std::vector<std::string> public_keys(const std::vector<std::string>& api_keys,
                                     const std::vector<std::string>& admin_keys);

}  // namespace sluice::endpoint
