// For the tests of this room: plans from text, requests, and leases held in hand.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "gateway/snapshot.h"
#include "net/http.h"
#include "plan/parse.h"

namespace sluice::gateway::testing {

inline plan::SecretSource no_secrets() {
  return {.environment = [](const std::string&) -> Result<std::string> { return "secret"; },
          .file = [](const std::string&) -> Result<std::string> { return "secret"; }};
}

inline std::shared_ptr<const plan::Plan> plan_of(const std::string& yaml) {
  auto root = plan::parse_yaml(yaml, "test.yaml");
  if (!root) {
    ADD_FAILURE() << root.error().message();
    return std::make_shared<const plan::Plan>();
  }
  auto plan = plan::parse_plan(*root, no_secrets());
  if (!plan) {
    ADD_FAILURE() << plan.error().message();
    return std::make_shared<const plan::Plan>();
  }
  return std::make_shared<const plan::Plan>(*std::move(plan));
}

// An upstream of `count` replicas r0, r1, …
inline plan::Upstream upstream_of(int count, const std::string& name = "up") {
  plan::Upstream upstream;
  upstream.name = name;
  for (int i = 0; i < count; ++i) {
    upstream.endpoints.push_back(
        {.name = "r" + std::to_string(i), .url = "http://127.0.0.1:" + std::to_string(9000 + i)});
  }
  return upstream;
}

inline net::HttpRequest request_of(std::string path, net::Headers headers = {}) {
  net::HttpRequest request;
  request.method = "POST";
  request.path = request.target = std::move(path);
  request.headers = std::move(headers);
  return request;
}

}  // namespace sluice::gateway::testing
