// For the tests of this room: a gateway in this process, before upstreams that answer as the test
// says.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "gateway/gateway.h"
#include "gateway/gateway_test_support.h"
#include "net/test_support.h"

namespace sluice::gateway::testing {

using net::HttpRequest;
using net::HttpResponse;
using net::testing::RawClient;
using net::testing::Signal;
using Responder = std::shared_ptr<net::Responder>;

// An upstream that answers as the test says, on its own loop.
class ScriptedUpstream : public net::HttpHandler {
 public:
  using Script = std::function<void(HttpRequest, Responder)>;

  explicit ScriptedUpstream(Script script) : script_(std::move(script)) {}

  static HttpResponse json(std::string body, int status = 200) {
    return {.status = status,
            .headers = {{"Content-Type", "application/json"}},
            .body = std::move(body)};
  }

  void handle(HttpRequest request, Responder responder) override {
    if (request.path == "/ready") return responder->send({.body = "ready"});
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(request);
    }
    arrived.set();
    script_(std::move(request), std::move(responder));
  }

  std::vector<HttpRequest> seen() const {
    const std::lock_guard lock(mutex_);
    return seen_;
  }
  int count() const { return static_cast<int>(seen().size()); }

  Signal arrived;

 private:
  const Script script_;
  mutable std::mutex mutex_;
  std::vector<HttpRequest> seen_;
};

struct RunningUpstream {
  explicit RunningUpstream(ScriptedUpstream::Script script)
      : handler(std::make_shared<ScriptedUpstream>(std::move(script))),
        server(*net::HttpServer::start({}, handler)) {}
  std::string url() const { return "http://127.0.0.1:" + std::to_string(server->port()); }

  std::shared_ptr<ScriptedUpstream> handler;
  std::unique_ptr<net::HttpServer> server;
};

inline ScriptedUpstream::Script answers(const std::string& name) {
  return [name](const HttpRequest& request, const Responder& responder) {
    responder->send(
        ScriptedUpstream::json("{\"who\":\"" + name + "\",\"saw\":" + request.body + "}"));
  };
}
inline ScriptedUpstream::Script fails(int status, const net::Headers& headers = {}) {
  return [status, headers](const HttpRequest&, const Responder& responder) {
    HttpResponse response = ScriptedUpstream::json("{\"error\":\"no\"}", status);
    for (const auto& header : headers) response.headers.push_back(header);
    responder->send(std::move(response));
  };
}

struct RunningGateway {
  explicit RunningGateway(const std::string& yaml) : workers(1, 64) {
    loop = *net::EventLoop::create();
    gateway = std::make_shared<Gateway>(plan_of(yaml), std::vector{loop}, workers, metrics);
    const Outcome opened = gateway->open();
    EXPECT_TRUE(opened) << opened.error().message();
    net::ServerOptions options;
    options.loops = {loop};
    server = *net::HttpServer::start(std::move(options), gateway);
  }
  ~RunningGateway() {
    server.reset();
    gateway.reset();
  }

  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server->port()) + std::string(path);
  }
  HttpResponse post(std::string body, net::Headers headers = {},
                    const std::string& path = "/v1/completions") {
    auto response = client.fetch({.method = "POST",
                                  .url = url(path),
                                  .headers = std::move(headers),
                                  .body = std::move(body)});
    if (!response) ADD_FAILURE() << response.error().message();
    return response ? *response : HttpResponse{.status = 0};
  }
  HttpResponse get(std::string_view path, net::Headers headers = {}) {
    return client.fetch({.url = url(path), .headers = std::move(headers)})
        .value_or(HttpResponse{.status = 0});
  }

  telemetry::Metrics metrics;
  WorkerPool workers;
  std::shared_ptr<net::EventLoop> loop;
  std::shared_ptr<Gateway> gateway;
  std::unique_ptr<net::HttpServer> server;
  net::HttpClient client;
};

// One public route over the given upstreams' URLs; `more` goes into the route.
inline std::string plan_text(const std::vector<std::string>& urls, const std::string& more = "",
                             const std::string& upstream = "") {
  std::string text =
      "upstreams:\n  - name: u\n    health: {active: false}\n" + upstream + "    endpoints:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    text += "      - {url: \"" + urls[i] + "\", name: r" + std::to_string(i) + "}\n";
  }
  return text + "routes:\n  - name: r\n    public: true\n    policy: round_robin\n" +
         (more.contains("targets:") ? "" : "    targets: [{upstream: u}]\n") + more;
}

inline constexpr const char* kBody = R"({"model":"m","prompt":"hi"})";

}  // namespace sluice::gateway::testing
