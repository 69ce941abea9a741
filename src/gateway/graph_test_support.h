// Upstreams that say who they are, and plans of graphs over them.
#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/json.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway::testing {

// Says who it is, and what it was asked.
inline ScriptedUpstream::Script says(const std::string& name) {
  return [name](const net::HttpRequest& request, const Responder& responder) {
    responder->send(ScriptedUpstream::json("{\"by\":\"" + name + "\",\"path\":\"" + request.path +
                                           "\",\"saw\":" + request.body + "}"));
  };
}

// Upstreams and routes a, b, … and a graph g of these nodes.
inline std::string graph_plan(const std::vector<std::string>& urls, const std::string& nodes,
                              const std::string& more = "") {
  std::string upstreams = "upstreams:\n";
  std::string routes = "routes:\n";
  for (size_t i = 0; i < urls.size(); ++i) {
    const std::string name(1, static_cast<char>('a' + i));
    upstreams +=
        fmt::format("  - {{name: {}, health: {{active: false}}, endpoints: [{{url: \"{}\"}}]}}\n",
                    name, urls[i]);
    routes += fmt::format(
        "  - {{name: {0}, match: {{models: [m-{0}]}}, retry: {{attempts: 0}}, "
        "targets: [{{upstream: {0}}}]}}\n",
        name);
  }
  return upstreams + routes + "graphs:\n  - name: ns/g\n    models: [g]\n    public: true\n" +
         more + "    nodes:\n" + nodes;
}

inline constexpr const char* kAsk = R"({"model":"g","prompt":"hi"})";

inline json::value body_of(const net::HttpResponse& response) {
  const auto value = parse_json(response.body);
  EXPECT_TRUE(value) << response.body;
  return value ? *value : json::value();
}

inline std::string error_of(const net::HttpResponse& response) {
  const json::value body = body_of(response);
  const auto* error = body.is_object() ? body.get_object().if_contains("error") : nullptr;
  if (error == nullptr || !error->is_object()) return response.body;
  return std::string(error->get_object().at("message").get_string());
}

}  // namespace sluice::gateway::testing
