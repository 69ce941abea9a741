#include "gateway/snapshot.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "gateway/balancer.h"
#include "gateway/errors.h"
#include "gateway/forward.h"
#include "gateway/gateway_test_support.h"
#include "gateway/record.h"

namespace sluice::gateway {
namespace {

using testing::plan_of;
using testing::request_of;

constexpr const char* kPlan = R"(
upstreams:
  - {name: u, endpoints: [{url: "http://127.0.0.1:1", name: a}, {url: "http://127.0.0.1:2", name: b}]}
  - {name: v, endpoints: [{url: "http://127.0.0.1:3", name: c}]}
routes:
  - {name: blue, match: {models: [m], headers: {x-team: blue}}, targets: [{upstream: v}]}
  - {name: host, match: {hosts: ["api.example.com", "*.eu.example.com"]}, targets: [{upstream: v}]}
  - {name: m, match: {models: [m, alias, "fam-*"]}, targets: [{upstream: u, model: real}]}
  - {name: files, match: {paths: ["/v1/files*"]}, public: true, targets: [{upstream: v}]}
tenants:
  - name: acme
    models: [m, alias]
    keys:
      - {name: one, key: {env: ONE}, models: [m]}
      - name: old
        sha256: "cba06b5736faf67e54b07b561eae94395e774c517a7d910a54369e1263ccfbd4"
        expires: 2020-01-01
)";

struct Fixture {
  ManualClock clock;
  std::shared_ptr<const Snapshot> snapshot =
      std::make_shared<const Snapshot>(plan_of(kPlan), nullptr, clock);

  std::string route(const net::HttpRequest& request, std::optional<std::string> model = {}) {
    const Route* found = snapshot->match(request, model);
    return found == nullptr ? "" : found->settings().name;
  }
};

TEST(Snapshot, TheFirstRouteThatMatchesTakesTheRequest) {
  Fixture f;
  const auto chat = request_of("/v1/chat/completions");
  EXPECT_EQ(f.route(chat, "m"), "m");
  EXPECT_EQ(f.route(chat, "alias"), "m");
  EXPECT_EQ(f.route(chat, "fam-7b"), "m");
  EXPECT_EQ(f.route(chat, "other"), "");
  EXPECT_EQ(f.route(chat), "");
  EXPECT_EQ(f.route(request_of("/x", {{"x-team", "blue"}}), "m"), "blue");
  EXPECT_EQ(f.route(request_of("/x", {{"x-team", "red"}}), "m"), "m");
  EXPECT_EQ(f.route(request_of("/x", {{"host", "API.example.com.:8000"}}), "q"), "host");
  EXPECT_EQ(f.route(request_of("/x", {{"host", "a.eu.example.com"}}), "q"), "host");
  EXPECT_EQ(f.route(request_of("/x", {{"host", "eu.example.com"}}), "q"), "");
  EXPECT_EQ(f.route(request_of("/v1/files/7")), "files");
}

TEST(HostIndex, FindsWhatOneByOneWouldFind) {
  const std::vector<std::vector<std::string>> items = {{"api.example.com", "*.example.com"},
                                                       {"*.eu.example.com"},
                                                       {"*.com"},
                                                       {"a.b"},
                                                       {"*.a.b", "c"}};
  HostIndex index;
  for (size_t i = 0; i < items.size(); ++i) {
    for (const std::string& pattern : items[i]) index.add(pattern, i);
  }
  for (const std::string host :
       {"api.example.com", "x.example.com", "example.com", ".example.com", "x.eu.example.com",
        "eu.example.com", "com", ".com", "a.b", "x.a.b", ".a.b", "y.x.a.b", "c", "d", "", ".", "..",
        "a..b", "x.a.b."}) {
    HostIndex::Lists lists;
    index.find(host, lists);
    std::set<size_t> found;
    for (const auto& list : lists) {
      EXPECT_TRUE(std::ranges::is_sorted(list)) << host;
      found.insert(list.begin(), list.end());
    }
    std::set<size_t> wanted;
    for (size_t i = 0; i < items.size(); ++i) {
      if (host_matches(items[i], host)) wanted.insert(i);
    }
    EXPECT_EQ(found, wanted) << host;
  }
}

TEST(Snapshot, HostsModelsAndTheRestKeepThePlansOrder) {
  const ManualClock clock;
  const Snapshot snapshot(plan_of(R"(
upstreams:
  - {name: u, endpoints: [{url: "http://127.0.0.1:1"}]}
routes:
  - {name: canary, match: {hosts: ["*.a.com"], headers: {x-canary: "1"}}, targets: [{upstream: u}]}
  - {name: both, match: {hosts: ["*.b.a.com", "b.a.com"], models: ["m*"]}, targets: [{upstream: u}]}
  - {name: model, match: {models: [m1]}, targets: [{upstream: u}]}
  - {name: host, match: {hosts: ["b.a.com"]}, targets: [{upstream: u}]}
  - {name: paths, match: {paths: ["/p*"]}, targets: [{upstream: u}]}
  - {name: below, match: {hosts: ["*.a.com"]}, targets: [{upstream: u}]}
)"),
                          nullptr, clock);
  const auto route = [&](const char* path, const char* host, std::optional<std::string> model,
                         bool canary = false) {
    net::Headers headers{{"host", host}};
    if (canary) headers.emplace_back("x-canary", "1");
    const Route* found = snapshot.match(request_of(path, headers), model);
    return found == nullptr ? std::string() : found->settings().name;
  };
  EXPECT_EQ(route("/x", "b.a.com", "m1"), "both");
  EXPECT_EQ(route("/x", "b.a.com", "m1", true), "canary");
  EXPECT_EQ(route("/x", "b.a.com", "q"), "host");
  EXPECT_EQ(route("/p", "b.a.com", "q"), "host");
  EXPECT_EQ(route("/p", "c.a.com", "q"), "paths");
  EXPECT_EQ(route("/x", "c.a.com", "q"), "below");
  EXPECT_EQ(route("/x", "c.a.com", "m1"), "model");
  EXPECT_EQ(route("/x", "y.b.a.com:80", "m2"), "both");
  EXPECT_EQ(route("/x", "other", "m2"), "");
  EXPECT_EQ(route("/x", "b.a.com", {}), "host");
}

TEST(Snapshot, KeysAreScopedAndExpire) {
  Fixture f;
  const auto caller = f.snapshot->find_caller("secret", 1.7e9);
  ASSERT_TRUE(caller);
  EXPECT_EQ(caller->tenant->name, "acme");
  EXPECT_EQ(caller->key->name, "one");
  const plan::Route& m = f.snapshot->find_route("m")->settings();
  EXPECT_TRUE(Snapshot::allowed(*caller, m, "m"));
  EXPECT_FALSE(Snapshot::allowed(*caller, m, "alias")) << "the key is narrower than its tenant";
  EXPECT_FALSE(Snapshot::allowed(*caller, m, "fam-7b")) << "the tenant may not";
  EXPECT_FALSE(Snapshot::allowed({}, m, "m"));
  EXPECT_TRUE(Snapshot::allowed({}, f.snapshot->find_route("files")->settings(), ""));
  EXPECT_FALSE(f.snapshot->find_caller("secre", 1.7e9));
  EXPECT_FALSE(f.snapshot->find_caller("old", 1.7e9));
  EXPECT_TRUE(f.snapshot->find_caller("old", 1.5e9)) << "in 2017 it was good";
  EXPECT_EQ(f.snapshot->models_of(*caller), (std::vector<std::string>{"m"}));
  EXPECT_TRUE(f.snapshot->models_of({}).empty());
  EXPECT_EQ(f.snapshot->model_label("m"), "m");
  EXPECT_EQ(f.snapshot->model_label("anything"), "other");
}

TEST(Snapshot, StateOutlivesAReload) {
  Fixture f;
  Route* before = f.snapshot->find_route("m");
  auto lease = before->targets()[0]->choose({.model = "m"});
  ASSERT_TRUE(lease);
  EXPECT_EQ(lease->replica().model, "real");
  const Snapshot next(plan_of(kPlan), f.snapshot.get(), f.clock);
  const auto replicas = next.upstreams().at("u")->replicas();
  EXPECT_EQ((*replicas)[0]->outstanding() + (*replicas)[1]->outstanding(), 1);
  EXPECT_EQ(next.find_route("m")->memory(), before->memory());
  EXPECT_EQ(&next.find_route("m")->retries(), &before->retries());
  EXPECT_EQ(&next.find_route("m")->hedges(), &before->hedges());
}

TEST(Snapshot, ARequestKeepsTheKindAndTheCredentialsThatItBeganWith) {
  const auto plan = [](std::string_view kind) {
    return plan_of("upstreams:\n  - {name: u, " + std::string(kind) +
                   ", endpoints: [{url: \"http://127.0.0.1:1\", name: a}]}\n"
                   "routes: [{name: m, targets: [{upstream: u}], public: true}]\n");
  };
  const ManualClock clock;
  const Snapshot before(plan("kind: foreign, api_key: {env: X}"), nullptr, clock);
  const Snapshot next(plan("kind: sluice, internal_token: {env: X}"), &before, clock);
  EXPECT_FALSE(before.find_route("m")->targets()[0]->upstream().settings()->api_key.empty());
  EXPECT_TRUE(next.find_route("m")->targets()[0]->upstream().settings()->api_key.empty());
}

TEST(Balancer, ChoosesThroughTheSnapshotInForce) {
  Fixture f;
  Balancer balancer([&] { return f.snapshot; });
  ChooseRequest request{
      .route = "m", .sticky_key = {}, .prefix = {}, .excluded = {}, .fingerprint = {}};
  EXPECT_TRUE(balancer.choose(request));
  request.fingerprint = "fp";
  request.model = "m";
  EXPECT_EQ(balancer.choose(request).error().code(), Code::kUnavailable);
  const auto replica = (*f.snapshot->upstreams().at("u")->replicas())[1]->info();
  balancer.learn_fingerprint(replica, "real", "fp");
  EXPECT_EQ(balancer.choose(request)->replica().name, "b");
  EXPECT_EQ(balancer.choose(request)->replica().fingerprint, "fp");
  request = {.route = "none", .sticky_key = {}, .prefix = {}, .excluded = {}, .fingerprint = {}};
  EXPECT_EQ(balancer.choose(request).error().code(), Code::kNotFound);
}

TEST(Forward, CredentialsAndHopsStayBehind) {
  plan::Upstream upstream;
  upstream.api_key = "theirs";
  upstream.headers = {{"x-team", "blue"}};
  const auto request = request_of("/x", {{"host", "h"},
                                         {"authorization", "Bearer ours"},
                                         {"x-api-key", "ours"},
                                         {"connection", "keep-alive, X-Hop"},
                                         {"x-hop", "1"},
                                         {"transfer-encoding", "chunked"},
                                         {"cookie", "c"},
                                         {"X-Team", "red"},
                                         {"x-keep", "v"},
                                         {"content-type", "application/json"}});
  const net::Headers onward = onward_headers(request, upstream, "id-1", "tp");
  EXPECT_EQ(onward, (net::Headers{{"x-keep", "v"},
                                  {"content-type", "application/json"},
                                  {"x-team", "blue"},
                                  {"Authorization", "Bearer theirs"},
                                  {"X-Request-Id", "id-1"},
                                  {"traceparent", "tp"}}));
  const net::Headers back = answer_headers({{"content-type", "t"},
                                            {"set-cookie", "c"},
                                            {"connection", "close"},
                                            {"content-length", "5"}},
                                           "id-1");
  EXPECT_EQ(back, (net::Headers{{"content-type", "t"}, {"X-Request-Id", "id-1"}}));
}

TEST(Forward, TraceIsKeptOnlyWhenItIsOne) {
  const std::string good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
  EXPECT_EQ(traceparent_of(request_of("/", {{"traceparent", good}})), good);
  for (const std::string& bad :
       {std::string(), std::string(55, '0'), good + "0", "01" + good.substr(2),
        "00-" + std::string(32, '0') + good.substr(35)}) {
    const std::string made = traceparent_of(request_of("/", {{"traceparent", bad}}));
    EXPECT_NE(made, bad);
    EXPECT_EQ(made.size(), 55u);
  }
}

TEST(Errors, ClassesOfStatusAndRetryAfter) {
  EXPECT_EQ(error_of_status(503, ""), plan::ErrorClass::kOverloaded);
  EXPECT_EQ(error_of_status(429, ""), plan::ErrorClass::kRateLimited);
  EXPECT_EQ(error_of_status(500, ""), plan::ErrorClass::kServerError);
  EXPECT_EQ(error_of_status(400, R"({"code":"context_length_exceeded"})"),
            plan::ErrorClass::kContext);
  EXPECT_FALSE(error_of_status(400, "{}"));
  EXPECT_FALSE(error_of_status(200, ""));
  EXPECT_FALSE(error_of_status(302, ""));
  EXPECT_EQ(retry_after({{"retry-after", "7"}}), std::chrono::seconds(7));
  EXPECT_EQ(retry_after({{"Retry-After", "99999999999"}}), std::chrono::hours(1));
  for (const char* bad :
       {"-1", "x", "", "7.5", "Wed, 21 Oct 2015 07:28:00 GMT", "99999999999999999999"}) {
    EXPECT_FALSE(retry_after({{"retry-after", bad}})) << bad;
  }
}

TEST(AccessLine, IsOneJsonObjectWhateverTheRequestHeld) {
  RequestRecord record;
  record.id = "req-1";
  record.path = "/a\"\\\x01\n";
  record.model = "m\u00e9";
  record.status = 200;
  record.unix_began = 1.7e9;
  const std::string line = access_line(record, std::chrono::microseconds(1500));
  EXPECT_EQ(line.find('\n'), std::string::npos);
  const auto value = parse_json(line);
  ASSERT_TRUE(value) << line;
  EXPECT_EQ(value->at("path").as_string(), record.path);
  EXPECT_EQ(value->at("time").as_string(), "2023-11-14T22:13:20.000000Z");
  EXPECT_EQ(value->at("duration_ms").to_number<double>(), 1.5);
}

}  // namespace
}  // namespace sluice::gateway
