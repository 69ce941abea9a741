// For the tests of this room: a gateway in this process, before Sluice replicas.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/gateway_test_support.h"
#include "gateway/unbroken_front.h"

namespace sluice::gateway::testing {

inline constexpr const char* kAsk = R"({"model":"m","prompt":"x","max_tokens":12,"stream":true})";

// One public route over Sluice replicas at these URLs; `more` goes into the route.
inline std::string plan_text(const std::vector<std::string>& urls, const std::string& route = "r",
                             const std::string& more = "",
                             const std::string& policy = "round_robin") {
  std::string text =
      "upstreams:\n  - name: u\n    kind: sluice\n    internal_token: {env: T}\n"
      "    health: {active: false}\n    endpoints:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    text += "      - {url: \"" + urls[i] + "\", name: r" + std::to_string(i) + "}\n";
  }
  return text + "routes:\n  - name: " + route + "\n    public: true\n    policy: " + policy +
         "\n    targets: [{upstream: u}]\n" + more;
}

struct RunningFront {
  explicit RunningFront(const std::string& yaml)
      : loop(*net::EventLoop::create()),
        gateway(std::make_shared<Gateway>(plan_of(yaml), std::vector{loop}, workers, metrics)),
        front(
            gateway->relay_host(), [this] { return gateway->snapshot(); }, gateway->chooser(),
            workers, metrics) {
    gateway->set_sluice_handler([this](RelayRequest request) { front.answer(std::move(request)); });
    EXPECT_TRUE(gateway->open());
    net::ServerOptions options;
    options.loops = {loop};
    server = *net::HttpServer::start(std::move(options), gateway);
  }

  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server->port()) + std::string(path);
  }
  net::HttpResponse post(std::string body, const std::string& path = "/v1/completions") {
    auto response = client.fetch({.method = "POST", .url = url(path), .body = std::move(body)});
    if (!response) ADD_FAILURE() << response.error().message();
    return response ? *response : net::HttpResponse{.status = 0};
  }
  Route& route() { return *gateway->snapshot()->routes().front(); }

  telemetry::Metrics metrics;
  WorkerPool workers{2, 64};
  std::shared_ptr<net::EventLoop> loop;
  std::shared_ptr<Gateway> gateway;
  UnbrokenFront front;
  std::unique_ptr<net::HttpServer> server;
  net::HttpClient client;
};

}  // namespace sluice::gateway::testing
