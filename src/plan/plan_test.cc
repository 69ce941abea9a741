#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <string>

#include "base/files.h"
#include "plan/fields.h"
#include "plan/node.h"
#include "plan/parse.h"

namespace sluice::plan {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

SecretSource secrets() {
  return {.environment = [](const std::string& name) -> Result<std::string> {
            if (name == "KEY") return "key-from-env\n";
            return invalid("the environment has no variable " + name);
          },
          .file = [](const std::string&) -> Result<std::string> { return "key-from-file"; }};
}

Result<Plan> parse(const std::string& yaml) {
  SLUICE_ASSIGN_OR_RETURN(const Node root, parse_yaml(yaml, "t.yaml"));
  return parse_plan(root, secrets());
}

// The message, or "" when the plan is good.
std::string wrong(const std::string& yaml) {
  const auto plan = parse(yaml);
  return plan ? "" : plan.error().message();
}

const std::string kUpstream =
    "upstreams:\n  - {name: u, endpoints: [{url: \"http://127.0.0.1:9000\"}]}\n";
std::string with_headers(const std::string& headers) {
  return "upstreams: [{name: u, endpoints: [{url: \"http://a:1\"}], api_key: {env: KEY}, headers: "
         "{" +
         headers + "}}]\nroutes:\n  - {name: r, targets: [{upstream: u}]}\n";
}

const std::string kGood = kUpstream + "routes:\n  - {name: r, targets: [{upstream: u}]}\n";

// kGood with `field` in its route.
std::string with_route(const std::string& field) {
  return kUpstream + "routes:\n  - name: r\n    targets: [{upstream: u}]\n    " + field + "\n";
}

TEST(Plan, ReadsEveryPart) {
  const auto plan = parse(R"(
listen: ["[::1]:81"]
server: {max_connections: 5, max_body: 1MiB, metrics_public: true}
access_log: {path: /var/log/x}
upstreams:
  - name: own
    kind: sluice
    internal_token: {env: KEY}
    dns: {name: replicas.svc, port: 9000, refresh: 5s}
    health: {interval: 500ms, unhealthy_after: 3}
    breaker: {consecutive_failures: 2, open_for: 1s}
    outlier: {latency_factor: 3}
  - name: cloud
    api_key: {file: /k}
    path_prefix: /openai
    max_outstanding: 9
    endpoints: [{url: "http://[::1]:9000", name: six, weight: 2.5}]
routes:
  - name: a
    match: {models: m, hosts: [API.example], paths: ["/v1/*"], headers: {X-A: b, X-B: "*"}}
    policy: prefix_affinity
    prefix: {imbalance: 3}
    targets:
      - {upstream: cloud, weight: 9, model: gpt}
      - {upstream: cloud, weight: 1, model: gpt-new, when: {x-canary: "1"}}
    sticky: {by: header, header: X-User, replica: true}
    mirror: {upstream: cloud, percent: 10}
    retry: {attempts: 1, on: [connect, timeout], backoff: 5ms}
    fallbacks: [{upstream: own, on: context, model: long}]
    hedge: {after: 300ms}
    timeouts: {total: 2m}
    queue: {max_concurrent: 7}
    public: true
tenants:
  - name: t
    priority: 3
    limits: {tokens_per_minute: 1000}
    keys: [{name: k, key: {env: KEY}, routes: [a], expires: 2030-01-02T03:04:05Z, admin: true}]
)");
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->listeners[0], (Listener{"::1", 81}));
  EXPECT_EQ(plan->server.max_body_bytes, 1u << 20);
  EXPECT_EQ(plan->upstreams[0].internal_token, "key-from-env");
  EXPECT_EQ(plan->upstreams[0].dns->refresh, seconds(5));
  EXPECT_EQ(plan->upstreams[0].health.interval, milliseconds(500));
  EXPECT_EQ(plan->upstreams[1].api_key, "key-from-file");
  EXPECT_EQ(plan->upstreams[1].endpoints[0].weight, 2.5);
  const Route& route = plan->routes[0];
  EXPECT_EQ(route.match.models, (std::vector<std::string>{"m"}));
  EXPECT_EQ(route.match.hosts[0], "api.example");
  EXPECT_EQ(route.match.headers[0].name, "x-a");
  EXPECT_FALSE(route.match.headers[1].value);
  EXPECT_EQ(route.policy, Policy::kPrefixAffinity);
  EXPECT_EQ(route.targets[1].when[0].value, "1");
  EXPECT_EQ(route.sticky.header, "x-user");
  EXPECT_EQ(route.retry.on, (ErrorSet{ErrorClass::kConnect, ErrorClass::kTimeout}));
  EXPECT_EQ(route.fallbacks[0].on, (ErrorSet{ErrorClass::kContext}));
  EXPECT_TRUE(route.hedge.enabled);
  EXPECT_EQ(route.timeouts.total, seconds(120));
  EXPECT_EQ(plan->tenants[0].keys[0].expires_unix, 1893553445.0);
  EXPECT_TRUE(plan->tenants[0].keys[0].digest.matches(SecretDigest("key-from-env")));
}

TEST(Plan, JsonSaysTheSame) {
  const auto root = parse_yaml(kGood, "t.yaml");
  ASSERT_TRUE(root);
  const auto plan = plan_from_json(to_json_value(*root), secrets());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ((*plan)->routes[0].targets[0].upstream, "u");
}

TEST(JsonNodes, AreThoseOfYaml) {
  const std::string text = R"({"a":"1","b":1,"c":-2.5e3,"d":true,"e":null,"f":[],"g":{},)"
                           R"("h":[{"k":"\u00e9\n"},[18446744073709551615]],"i":""})";
  const auto json = parse_json_nodes(text);
  const auto yaml = parse_yaml(text, "t.yaml");
  ASSERT_TRUE(json) << json.error().message();
  ASSERT_TRUE(yaml);
  const std::function<void(const Node&, const Node&)> same = [&](const Node& a, const Node& b) {
    EXPECT_EQ(a.kind, b.kind);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.quoted, b.quoted);
    ASSERT_EQ(a.items.size(), b.items.size());
    ASSERT_EQ(a.fields.size(), b.fields.size());
    for (size_t i = 0; i < a.items.size(); ++i) same(a.items[i], b.items[i]);
    for (size_t i = 0; i < a.fields.size(); ++i) {
      EXPECT_EQ(a.fields[i].key, b.fields[i].key);
      same(a.fields[i].value, b.fields[i].value);
    }
  };
  same(*json, *yaml);
}

TEST(JsonNodes, RefuseWhatIsNoneAndWhatIsTooMuch) {
  for (const char* text :
       {"", "{", "a: 1", "[1,]", "{\"a\":1} x", "\"\xff\"", "1e999", "// c\n1"}) {
    EXPECT_FALSE(parse_json_nodes(text)) << text;
  }
  EXPECT_TRUE(parse_json_nodes(R"({"a":1,"a":2})").error().message().contains("twice"));
  const NodeLimits limits{.max_bytes = 40, .max_nodes = 5, .max_depth = 3, .max_text_bytes = 8};
  EXPECT_TRUE(parse_json_nodes("[[[1]]]", limits));
  EXPECT_FALSE(parse_json_nodes("[[[[]]]]", limits));
  EXPECT_TRUE(parse_json_nodes("[1,2,3,4]", limits));
  EXPECT_FALSE(parse_json_nodes("[1,2,3,4,5]", limits));
  EXPECT_TRUE(parse_json_nodes("\"12345678\"", limits));
  EXPECT_FALSE(parse_json_nodes("\"123456789\"", limits));
  EXPECT_FALSE(parse_json_nodes(std::string(41, ' '), limits));
}

TEST(Plan, MistakesAreToldWithFileLineFieldExpectedAndFound) {
  EXPECT_EQ(wrong(kUpstream +
                  "routes:\n  - name: r\n    targets: [{upstream: u}]\n    policy: fastest\n"),
            "t.yaml:6: routes[0].policy: expected one of round_robin weighted_round_robin "
            "least_outstanding power_of_two prefix_affinity, found 'fastest'");
  EXPECT_EQ(
      wrong(with_route("retry: {attempts: many}")),
      "t.yaml:6: routes[0].retry.attempts: expected a whole number from 0 to 16, found 'many'");
  EXPECT_EQ(wrong(with_route("timeouts: {total: 5}")),
            "t.yaml:6: routes[0].timeouts.total: expected a duration from 1ms to 1d, such as 250ms "
            "or 30s; found '5'");
}

TEST(Plan, AllMistakesAreToldAtOnce) {
  const std::string message = wrong("frobnicate: 1\n" + with_route("retry: 7") + "tenants: {}\n");
  EXPECT_TRUE(message.contains("there is no field 'frobnicate'")) << message;
  EXPECT_TRUE(message.contains("retry: expected a mapping, found '7'"));
  EXPECT_TRUE(message.contains("tenants: expected a list, found a mapping"));
}

TEST(Plan, RefusesWhatCannotBeMeant) {
  const std::pair<std::string, std::string> cases[] = {
      {"", "expected one route"},
      {"a", "expected a mapping"},
      {kGood + "routes: []\n", "twice"},
      {kUpstream + "routes:\n  - {name: r, targets: [{upstream: x}]}\n", "no upstream 'x'"},
      {kUpstream + "routes:\n  - {name: r, targets: []}\n", "one target"},
      {kUpstream + "routes:\n  - {name: r, targets: [{upstream: u, weight: 0}]}\n", "weight 0"},
      {kUpstream + "routes:\n  - {name: r, targets: [{upstream: u, weight: -1}]}\n", "weight"},
      {kUpstream + "routes:\n  - {name: r, targets: [{upstream: u, weight: nan}]}\n", "weight"},
      {kUpstream + "routes:\n  - {targets: [{upstream: u}]}\n", "name"},
      {kUpstream + "routes:\n  - {name: \"a b\", targets: [{upstream: u}]}\n", "name"},
      {kGood + "  - {name: r, targets: [{upstream: u}]}\n", "stands above"},
      {"upstreams: [{name: u}]\n" + kGood.substr(kGood.find("routes")), "exactly one of"},
      {"upstreams: [{name: u, endpoints: [{url: \"ftp://x\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "http://"},
      {"upstreams: [{name: u, endpoints: [{url: \"http://a/b\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "http://"},
      {"upstreams: [{name: u, endpoints: [{url: \"http://a@b\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "http://"},
      {"upstreams: [{name: u, kind: sluice, endpoints: [{url: \"http://a:1\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "internal_token"},
      {"upstreams: [{name: u, api_key: plain, endpoints: [{url: \"http://a:1\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "in plain"},
      {"upstreams: [{name: u, api_key: {env: NONE}, endpoints: [{url: \"http://a:1\"}]}]\n" +
           kGood.substr(kGood.find("routes")),
       "NONE"},
      {with_headers("host: x"), "for each request anew"},
      {with_headers("Transfer-Encoding: chunked"), "for each request anew"},
      {with_headers("\"x y\": z"), "name of a header"},
      {with_headers("X-Api-Key: plain"), "carries a secret"},
      {with_headers("x-a: b, X-A: c"), "stands there twice"},
      {with_headers("x-a: \"b\\nc\""), "control characters"},
      {"control: {url: \"http://127.0.0.1:1\", token: {env: KEY}, plan_id: \"a b\"}\n" + kGood,
       "plan_id: expected characters without blanks"},
      {with_headers("x-a: [b]"), "text"},
      {with_headers("authorization: {env: KEY}"), "api_key is sent in it"},
      {with_route("match: {paths: [v1]}"), "begin with '/'"},
      {with_route("sticky: {by: header}"), "header"},
      {with_route("retry: {on: [bad_luck]}"), "bad_luck"},
      {with_route("match: {headers: [a]}"), "mapping"},
      {"listen: localhost\n" + kGood, "listen"},
      {"listen: [\":80\", \":81\"]\n" + kGood, "listen"},
      {"listen: localhost:99999\n" + kGood, "listen"},
      {kGood + "tenants: [{name: t, keys: [{name: k, sha256: abc}]}]\n", "64 hex"},
      {kGood + "tenants: [{name: t, keys: [{name: k}]}]\n", "exactly one of"},
      {kGood + "tenants: [{name: t, keys: [{name: k, key: {env: KEY}, expires: soon}]}]\n",
       "expires"},
      {kGood + "tenants: [{name: t, keys: [{name: k, key: {env: KEY}, expires: 2026-02-30}]}]\n",
       "expires"},
      {kGood + "tenants: [{name: t, routes: [z]}]\n", "no route 'z'"},
      {kGood +
           "tenants: [{name: t, keys: [{name: k, key: {env: KEY}}, {name: l, key: {env: KEY}}]}]\n",
       "another key's"},
  };
  for (const auto& [yaml, said] : cases) {
    const std::string message = wrong(yaml);
    EXPECT_TRUE(message.contains(said)) << yaml << "\n→ " << message;
  }
  EXPECT_EQ(wrong(kGood), "");
}

TEST(Plan, HeadersOfAnUpstreamMayBeSecrets) {
  const auto root =
      parse_yaml(with_headers("X-Team: blue, X-Api-Key: {env: KEY}, api-version: 2"), "t.yaml");
  ASSERT_TRUE(root);
  const auto plan = parse_plan(*root, secrets());
  ASSERT_TRUE(plan) << plan.error().message();
  using Headers = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(plan->upstreams[0].headers,
            (Headers{{"x-team", "blue"}, {"x-api-key", "key-from-env"}, {"api-version", "2"}}));
}

TEST(Plan, FieldsWithoutEffectAreMistakes) {
  const auto over_sluice = [](const std::string& field) {
    return wrong(
        "upstreams:\n  - {name: u, kind: sluice, internal_token: {env: KEY}, "
        "endpoints: [{url: \"http://127.0.0.1:9000\"}]}\n"
        "routes:\n  - name: r\n    targets: [{upstream: u}]\n    " +
        field + "\n");
  };
  EXPECT_EQ(over_sluice("retry: {attempts: 1, backoff: 1ms, budget_ratio: 1}"), "");
  EXPECT_EQ(over_sluice("timeouts: {total: 5s}"), "");
  EXPECT_EQ(over_sluice("timeouts: {idle: 5s}"),
            "t.yaml:6: routes[0].timeouts.idle: has no effect over upstreams of kind sluice: use "
            "unbroken.hang_after");
  for (const char* field : {"retry: {on: [connect]}", "retry: {max_retry_after: 1s}",
                            "timeouts: {connect: 1s}", "timeouts: {first_byte: 1s}"}) {
    const std::string message = over_sluice(field);
    EXPECT_TRUE(message.starts_with("t.yaml:6: routes[0]." + std::string(field).substr(0, 5)))
        << message;
    EXPECT_TRUE(message.contains("no effect")) << message;
  }
  EXPECT_TRUE(wrong(with_route("unbroken: {resumes: 3}")).contains("no effect"));
  EXPECT_TRUE(wrong(with_route("prefix: {exact: true}")).contains("no effect"));
  // Copies and fallbacks of typed requests go to whoever understands them.
  EXPECT_EQ(over_sluice("mirror: {upstream: u}"), "");
  EXPECT_EQ(over_sluice("fallbacks: [{upstream: u, model: other}]"), "");
  const std::string both =
      "upstreams:\n  - {name: u, kind: sluice, internal_token: {env: KEY}, "
      "endpoints: [{url: \"http://127.0.0.1:9000\"}]}\n"
      "  - {name: f, endpoints: [{url: \"http://127.0.0.1:9001\"}]}\n"
      "routes:\n  - {name: r, targets: [{upstream: u}], ";
  EXPECT_TRUE(wrong(both + "mirror: {upstream: f}}\n").contains("must be of kind sluice"));
  EXPECT_TRUE(wrong(both + "fallbacks: [{upstream: f}]}\n").contains("must be of kind sluice"));
  for (const char* field :
       {"api_key: {env: KEY}", "host: a", "path_prefix: /x", "protocol: anthropic"}) {
    const std::string message = wrong(
        "upstreams:\n  - name: u\n    kind: sluice\n    internal_token: {env: KEY}\n    "
        "endpoints: [{url: \"http://127.0.0.1:9000\"}]\n    " +
        std::string(field) + "\nroutes:\n  - {name: r, targets: [{upstream: u}]}\n");
    EXPECT_TRUE(message.starts_with("t.yaml:6: upstreams[0].") && message.contains("no effect"))
        << message;
  }
  EXPECT_TRUE(wrong("upstreams: [{name: u, internal_token: {env: KEY}, endpoints: [{url: "
                    "\"http://a:1\"}]}]\n" +
                    kGood.substr(kGood.find("routes")))
                  .contains("internal_token: has no effect"));
}

TEST(Plan, TlsOfServerAndUpstreams) {
  const auto plan = parse(R"(
server:
  tls:
    certificates: [{certificate: a.pem, key: a.key}, {certificate: b.pem, key: b.key}]
    client_ca: ca.pem
  trusted_proxies: [10.0.0.0/8, "::1"]
upstreams:
  - {name: u, endpoints: [{url: "https://host"}, {url: "http://127.0.0.1:9000"}], tls: {ca: x.pem}}
  - {name: d, dns: {name: d.svc, port: 443}, tls: {certificate: c.pem, key: c.key}}
routes:
  - {name: r, targets: [{upstream: u}]}
)");
  ASSERT_TRUE(plan) << plan.error().message();
  ASSERT_TRUE(plan->server.tls);
  ASSERT_EQ(plan->server.tls->certificates.size(), 2u);
  EXPECT_EQ(plan->server.tls->certificates[1].key, "b.key");
  EXPECT_EQ(plan->server.tls->client_ca, "ca.pem");
  EXPECT_TRUE(plan->server.tls->client_certificate_required);
  EXPECT_EQ(plan->server.trusted_proxies.size(), 2u);
  EXPECT_EQ(plan->upstreams[0].endpoints[0].name, "host");
  EXPECT_EQ(plan->upstreams[0].tls->ca, "x.pem");
  EXPECT_EQ(plan->upstreams[1].tls->server_name, "d.svc");
  EXPECT_EQ(plan->upstreams[1].tls->identity.certificate, "c.pem");

  const auto server = [](const std::string& field) {
    return wrong("server: {" + field + "}\n" + kGood);
  };
  EXPECT_NE(server("tls: {}").find("certificates"), std::string::npos);
  EXPECT_NE(server("tls: {certificates: [{certificate: a}]}").find("key"), std::string::npos);
  EXPECT_NE(server("tls: {certificates: [{certificate: a, key: b}], client_certificate: optional}")
                .find("without client_ca"),
            std::string::npos);
  EXPECT_NE(server("trusted_proxies: [10.0.0.1/8]").find("behind the prefix"), std::string::npos);
  const auto upstream = [](const std::string& url, const std::string& tls) {
    return wrong("upstreams:\n  - {name: u, endpoints: [{url: \"" + url + "\"}], tls: {" + tls +
                 "}}\nroutes:\n  - {name: r, targets: [{upstream: u}]}\n");
  };
  EXPECT_NE(upstream("http://h", "ca: x").find("no endpoint"), std::string::npos);
  EXPECT_NE(upstream("https://h", "key: x").find("go together"), std::string::npos);
  EXPECT_NE(upstream("ftp://h", "ca: x").find("http://host:8000"), std::string::npos);
}

TEST(Plan, WhereLimitsAreShared) {
  const auto redis = [](const std::string& fields) {
    return "limits: {redis: {" + fields + "}}\n" + kGood;
  };
  auto plan = parse(redis("url: redis://cache.example"));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->limits.redis->host, "cache.example");
  EXPECT_EQ(plan->limits.redis->port, 6379);
  EXPECT_EQ(plan->limits.redis->on_loss, RedisPlan::OnLoss::kRefuse);
  plan = parse(
      redis("url: \"rediss://[::1]:7000/3\", username: gw, password: {env: KEY}, on_loss: local, "
            "tls: {ca: /ca.pem, server_name: cache}, prefix: \"a:b\", timeout: 50ms, lease: 5s"));
  ASSERT_TRUE(plan) << plan.error().message();
  const RedisPlan& all = *plan->limits.redis;
  EXPECT_EQ(all.host, "::1");
  EXPECT_EQ(all.port, 7000);
  EXPECT_EQ(all.database, 3);
  EXPECT_TRUE(all.secure);
  EXPECT_EQ(all.tls.ca, "/ca.pem");
  EXPECT_EQ(all.password, "key-from-env");
  EXPECT_EQ(all.prefix, "a:b");
  EXPECT_EQ(all.timeout, milliseconds(50));
  EXPECT_EQ(all.on_loss, RedisPlan::OnLoss::kLocal);
  plan = parse(redis("url: unix:///run/redis.sock"));
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ(plan->limits.redis->unix_path, "/run/redis.sock");
  EXPECT_FALSE(parse(kGood)->limits.redis);

  const std::string url = "url: redis://h";
  const std::pair<std::string, std::string> cases[] = {
      {redis("on_loss: refuse"), "url"},
      {redis("url: http://h"), "expected redis://"},
      {redis("url: \"redis://user:secret@h\""), "expected redis://"},
      {redis("url: redis://h/x"), "expected redis://"},
      {redis("url: redis://h/-1"), "expected redis://"},
      {redis("url: redis://h:0"), "expected redis://"},
      {redis("url: unix://here"), "expected redis://"},
      {redis(url + ", password: plain"), "a secret does not stand here in plain"},
      {redis(url + ", on_loss: pray"), "expected one of refuse local allow"},
      {redis(url + ", tls: {ca: /ca.pem}"), "has no effect without a rediss:// URL"},
      {redis(url + ", username: gw"), "has no effect without a password"},
      {redis(url + ", timeout: 1s, lease: 2s"), "expected four times the timeout"},
  };
  for (const auto& [yaml, message] : cases) {
    EXPECT_TRUE(wrong(yaml).contains(message)) << yaml << "\n" << wrong(yaml);
  }
}

TEST(Yaml, BoundsHoldForAliasesToo) {
  std::string laughs = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    laughs += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int j = 0; j < 10; ++j) laughs += (j > 0 ? ", " : "") + before;
    laughs += "]\n";
  }
  const auto bomb = parse_yaml(laughs, "t.yaml");
  ASSERT_FALSE(bomb);
  EXPECT_TRUE(bomb.error().message().contains("more than")) << bomb.error().message();
  EXPECT_FALSE(parse_yaml("a: &a [*a]\n", "t.yaml"));
  EXPECT_FALSE(parse_yaml(std::string(100, '['), "t.yaml"));
  EXPECT_FALSE(parse_yaml("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]",
                          "t.yaml"));
  EXPECT_FALSE(parse_yaml("a: 1\na: 2\n", "t.yaml"));
  EXPECT_FALSE(parse_yaml("? [1]\n: 2\n", "t.yaml"));
  EXPECT_FALSE(parse_yaml("a: 1\n---\nb: 2\n", "t.yaml"));
  EXPECT_FALSE(parse_yaml("a: [1\n", "t.yaml"));
  const auto aliased = parse_yaml("x: &x {a: 1}\ny: *x\n", "t.yaml");
  ASSERT_TRUE(aliased);
  EXPECT_EQ(aliased->find("y")->find("a")->text, "1");
}

TEST(LoadPlan, JoinsTheFilesOfADirectory) {
  const auto folder =
      std::filesystem::temp_directory_path() / ("plan_test_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  EXPECT_FALSE(load_plan(folder, secrets())) << "empty";
  ASSERT_TRUE(write_file_atomically(folder / "a.yaml", "listen: \":1\"\n" + kUpstream));
  ASSERT_TRUE(write_file_atomically(folder / "b.yml",
                                    "routes:\n  - {name: r, targets: [{upstream: u}]}\n"));
  ASSERT_TRUE(write_file_atomically(folder / "c.json",
                                    R"({"routes":[{"name":"s","targets":[{"upstream":"u"}]}]})"));
  ASSERT_TRUE(write_file_atomically(folder / "notes.txt", "not read"));
  const auto plan = load_plan(folder, secrets());
  ASSERT_TRUE(plan) << plan.error().message();
  EXPECT_EQ((*plan)->routes.size(), 2u);
  const std::string before = plan_stamp(folder);
  ASSERT_TRUE(write_file_atomically(folder / "d.yaml", "listen: \":2\"\n"));
  EXPECT_NE(plan_stamp(folder), before);
  const auto twice = load_plan(folder, secrets());
  ASSERT_FALSE(twice);
  EXPECT_TRUE(twice.error().message().contains("only lists may be split"))
      << twice.error().message();
  std::filesystem::remove_all(folder);
}

TEST(LoadPlan, ComplaintsOfJsonNameTheLine) {
  const auto file = std::filesystem::temp_directory_path() /
                    ("plan_test_" + std::to_string(::getpid()) + ".json");
  const std::string upstreams =
      R"({"upstreams":[{"name":"u","endpoints":[{"url":"http://h:1"}]}],)";
  ASSERT_TRUE(write_file_atomically(
      file,
      upstreams +
          "\n\"routes\":[{\"name\":\"r\",\n\"what\":1,\"targets\":[{\"upstream\":\"u\"}]}]}"));
  const auto plan = load_plan(file, secrets());
  ASSERT_FALSE(plan);
  EXPECT_TRUE(plan.error().message().contains(".json:3: routes[0]: there is no field 'what'"))
      << plan.error().message();
  ASSERT_TRUE(write_file_atomically(
      file, upstreams + R"("routes":[{"name":"r","public":true,"targets":[{"upstream":"u"}]}]})"));
  const auto good = load_plan(file, secrets());
  ASSERT_TRUE(good) << good.error().message();
  EXPECT_TRUE((*good)->routes.front().is_public);
  std::filesystem::remove(file);
}

TEST(SecretFiles, AreReadAgainWhenTheyMayHaveChanged) {
  const auto file =
      std::filesystem::temp_directory_path() / ("plan_test_" + std::to_string(::getpid()) + ".key");
  int reads = 0;
  const SecretSource counted{.environment = system_secrets().environment,
                             .file = [&](const std::string& path) {
                               ++reads;
                               return system_secrets().file(path);
                             }};
  for (const bool at_once : {true, false}) {
    SecretFiles files(counted, at_once ? Duration::zero() : std::chrono::hours(1));
    reads = 0;
    ASSERT_TRUE(write_file_atomically(file, "one"));
    EXPECT_EQ(files.source().file(file.string()), "one");
    EXPECT_EQ(files.source().file(file.string()), "one");
    EXPECT_EQ(reads, at_once ? 1 : 2) << "what was written only just now may be written again";
    ASSERT_TRUE(write_file_atomically(file, "two"));
    EXPECT_EQ(files.source().file(file.string()), "two") << "another file of the same size";
    {
      std::ofstream out(file);
      out << "three";
    }
    EXPECT_EQ(files.source().file(file.string()), "three");
    files.source();  // in which nobody asks for it
    reads = 0;
    EXPECT_EQ(files.source().file(file.string()), "three");
    EXPECT_EQ(reads, 1);
    std::filesystem::remove(file);
    EXPECT_FALSE(files.source().file(file.string()));
  }
}

TEST(Endpoints, FileOfAddresses) {
  const auto good = parse_endpoints("# all\nhttp://a:1\n\n http://b:2  bee 3 # two\r\n", "f");
  ASSERT_TRUE(good) << good.error().message();
  ASSERT_EQ(good->size(), 2u);
  EXPECT_EQ((*good)[0].name, "a:1");
  EXPECT_EQ((*good)[1].name, "bee");
  EXPECT_EQ((*good)[1].weight, 3);
  for (const char* bad : {"a:1", "http://a:1 n 0", "http://a:1 n x", "http://a:1 n 1 more",
                          "http://a:1\nhttp://a:1", "http://a:0"}) {
    EXPECT_FALSE(parse_endpoints(bad, "f")) << bad;
  }
}

TEST(Units, DurationsAndSizes) {
  EXPECT_EQ(*parse_duration("250ms"), milliseconds(250));
  EXPECT_EQ(*parse_duration("1d"), std::chrono::hours(24));
  EXPECT_EQ(*parse_bytes("8MiB"), 8u << 20);
  for (const char* bad :
       {"", "s", "-1s", "1.5s", "1 s", "1w", "99999999999999999999s", "300000d000"}) {
    EXPECT_FALSE(parse_duration(bad)) << bad;
  }
  EXPECT_FALSE(parse_duration("9223372036854775807s"));
  EXPECT_FALSE(parse_bytes("1kb"));
}

}  // namespace
}  // namespace sluice::plan
