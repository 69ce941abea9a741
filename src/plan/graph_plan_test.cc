// What a control plane's plans have: holds, reports, graphs, transformers, explanations.
#include <gtest/gtest.h>

#include <string>

#include "plan/node.h"
#include "plan/parse.h"

namespace sluice::plan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Result<Plan> parse(const std::string& yaml) {
  SLUICE_ASSIGN_OR_RETURN(const Node root, parse_yaml(yaml, "t.yaml"));
  return parse_plan(
      root, {.environment = [](const std::string&) -> Result<std::string> { return "secret"; },
             .file = [](const std::string&) -> Result<std::string> { return "secret"; }});
}

std::string wrong(const std::string& yaml) {
  const auto plan = parse(yaml);
  return plan ? "" : plan.error().message();
}

const std::string kRoute =
    "upstreams: [{name: u, endpoints: []}]\n"
    "routes:\n  - name: r\n    targets: [{upstream: u}]\n";

std::string with_nodes(const std::string& nodes) {
  return kRoute + "graphs:\n  - name: g\n    nodes:\n" + nodes;
}

TEST(PlatformPlan, HoldAndControl) {
  const auto plan = parse(R"(
control: {url: "http://127.0.0.1:7000", token: {file: /t}}
upstreams:
  - {name: a, endpoints: [], hold: {max_wait: 5s, max_held: 7, comment_every: 0s}}
  - {name: b, endpoints: [], hold: {}}
  - {name: c, endpoints: []}
)");
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->control->url, "http://127.0.0.1:7000");
  EXPECT_EQ(plan->control->token, "secret");
  EXPECT_TRUE(plan->routes.empty()) << "a control plane may have nothing to serve yet";
  EXPECT_EQ(plan->upstreams[0].hold->max_wait, Duration(seconds(5)));
  EXPECT_EQ(plan->upstreams[0].hold->max_held, 7);
  EXPECT_EQ(plan->upstreams[0].hold->comment_every, Duration::zero());
  EXPECT_EQ(plan->upstreams[1].hold->max_wait, Duration(seconds(30)));
  EXPECT_FALSE(plan->upstreams[2].hold);

  EXPECT_TRUE(wrong("upstreams: []").contains("expected one route at least"));
  EXPECT_TRUE(wrong("control: {url: x, token: {env: T}}").contains("control.url"));
  EXPECT_TRUE(wrong("control: {url: \"http://h:1\"}").contains("control.token: is required"));
  EXPECT_TRUE(
      wrong("upstreams: [{name: a, endpoints: [], hold: {max_wait: 0s}}]").contains("max_wait"));
  EXPECT_TRUE(wrong("upstreams: [{name: a, endpoints: [], hold: {comment_every: 1ms}}]")
                  .contains("at least 100ms"));
}

TEST(PlatformPlan, GraphsAreRead) {
  const auto plan = parse(kRoute + R"(
graphs:
  - name: ns/g
    hosts: [G.example.com]
    headers: [X-A]
    timeout: 5s
    nodes:
      - name: other
        type: splitter
        steps: [{route: r, weight: 40}, {url: "http://h:1/x", weight: 60}]
      - name: root
        type: sequence
        steps:
          - name: one
            route: r
            model: m
            path: /v1/completions
            timeout: 250ms
            retries: 2
            fallback: other
          - node: other
            data: $response
            condition: 'a.#(b==1)'
            dependency: Hard
            map_predictions: true
)");
  ASSERT_TRUE(plan) << plan.error().message();
  const Graph& graph = plan->graphs.front();
  EXPECT_EQ(graph.models, std::vector<std::string>{"ns/g"});
  EXPECT_EQ(graph.hosts, std::vector<std::string>{"g.example.com"});
  EXPECT_EQ(graph.headers, std::vector<std::string>{"x-a"});
  EXPECT_EQ(graph.entry().name, "root");
  const GraphStep& one = graph.entry().steps[0];
  EXPECT_EQ(one.timeout, Duration(milliseconds(250)));
  EXPECT_EQ(one.retries, 2);
  EXPECT_EQ(one.fallback, "other");
  const GraphStep& two = graph.entry().steps[1];
  EXPECT_EQ(two.data, GraphStep::Data::kResponse);
  EXPECT_TRUE(two.hard);
  EXPECT_TRUE(two.map_predictions);
}

TEST(PlatformPlan, GraphsComplainByName) {
  const auto step = [](const std::string& fields, const std::string& type = "sequence") {
    return wrong(with_nodes("      - {name: n, type: " + type + ", steps: [{" + fields + "}]}\n"));
  };
  EXPECT_EQ(step("route: r"), "");
  EXPECT_TRUE(step("route: r, node: n").contains("exactly one of route, url and node"));
  EXPECT_TRUE(step("route: x").contains("no route 'x'"));
  EXPECT_TRUE(step("node: x").contains("no node 'x'"));
  EXPECT_TRUE(step("node: n").contains("'n' leads to itself"));
  EXPECT_TRUE(step("route: r, fallback: n").contains("leads to itself"));
  EXPECT_TRUE(step("url: \"ftp://x\"").contains("expected a URL"));
  EXPECT_TRUE(step("route: r, data: $response").contains("no answer before it"));
  EXPECT_TRUE(step("route: r, weight: 1").contains("only a splitter"));
  EXPECT_TRUE(step("route: r", "splitter").contains("weight: is required"));
  EXPECT_TRUE(step("route: r, weight: 0", "splitter").contains("add up to 0"));
  EXPECT_TRUE(step("route: r", "switch").contains("condition: is required"));
  EXPECT_TRUE(step("route: r, condition: \"a.@reverse\"").contains("@reverse"));
  EXPECT_TRUE(step("route: r, condition: a", "ensemble").contains("no effect"));
  EXPECT_TRUE(step("route: r, data: request, body: x").contains("no effect beside body"));
  EXPECT_TRUE(wrong(kRoute + "graphs: [{name: r, nodes: [{name: n, type: sequence, "
                             "steps: [{route: r}]}]}]")
                  .contains("there is a route 'r' too"));
}

TEST(PlatformPlan, TransformersAndExplanations) {
  const auto plan = parse(kRoute +
                          "    transform:\n      request_template: |\n        {{ request }}\n"
                          "        {{ path }}\n      response_url: \"http://h:1/x\"\n"
                          "    explain: {segments: line, max_segments: 9}\n");
  ASSERT_TRUE(plan) << plan.error().message();
  const Route& route = plan->routes.front();
  EXPECT_EQ(route.transform->request_template, "{{ request }}\n{{ path }}\n");
  EXPECT_TRUE(route.transform->changes_answers());
  EXPECT_EQ(route.explain->segments, ExplainPlan::Segments::kLine);
  EXPECT_EQ(route.explain->max_segments, 9);
  const auto both = parse(kRoute + "    transform: {url: \"http://h:1/v1/models/m\"}\n");
  ASSERT_TRUE(both) << both.error().message();
  EXPECT_EQ(both->routes.front().transform->request_url, "http://h:1/v1/models/m:preprocess");
  EXPECT_EQ(both->routes.front().transform->response_url, "http://h:1/v1/models/m:postprocess");
  EXPECT_TRUE(wrong(kRoute + "    transform: {}\n").contains("expected a template or a URL"));
  EXPECT_TRUE(wrong(kRoute + "    transform: {request_template: x, request_url: \"http://h:1\"}\n")
                  .contains("one of a template and a URL"));
  EXPECT_TRUE(wrong(kRoute + "    explain: {max_segments: 0}\n").contains("max_segments"));
}

}  // namespace
}  // namespace sluice::plan
