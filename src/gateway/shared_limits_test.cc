// Limits shared through a real redis-server: by two gateways' SharedLimits, and through a whole
// gateway.
#include "gateway/shared_limits.h"

#include <array>
#include <chrono>
#include <future>
#include <thread>

#include "base/rng.h"
#include "gateway/running_test_support.h"
#include "gateway/shared_limits_scripts.h"
#include "net/redis_client.h"
#include "net/redis_test_support.h"

namespace sluice::gateway {
namespace {

using net::testing::kPatience;
using net::testing::RedisServer;
using std::chrono::seconds;
using testing::answers;
using testing::plan_text;
using testing::RunningGateway;
using testing::RunningUpstream;

plan::RedisPlan plan_on(const RedisServer& server) {
  plan::RedisPlan plan;
  plan.unix_path = server.socket();
  plan.timeout = seconds(10);  // a slow machine is no loss
  plan.lease = seconds(60);
  return plan;
}

struct OneGateway {
  explicit OneGateway(const plan::RedisPlan& plan) : limits(*SharedLimits::open(plan, metrics)) {}

  SharedLimits::Answer reserve(const plan::Limits& tenant, int64_t tokens, int64_t micros = 0,
                               std::optional<plan::Limits> key = std::nullopt) {
    return limits->reserve_now(
        {.tenant = "t", .key = "k", .tenant_limits = tenant, .key_limits = key}, {tokens, micros});
  }
  // "granted", or the name of the limit that refused, or "lost".
  std::string try_one(const plan::Limits& tenant, int64_t tokens, int64_t micros = 0) {
    return word(reserve(tenant, tokens, micros));
  }
  static std::string word(const SharedLimits::Answer& answer) {
    if (answer) return "granted";
    const auto& refusal = answer.error().denial.refusal;
    return refusal ? std::string(limit_name(refusal->limit)) : "lost";
  }

  telemetry::Metrics metrics;
  std::unique_ptr<SharedLimits> limits;
};

// Asks until `wanted` is said. Within the test's patience.
std::string ask_until(std::string_view wanted, const std::function<std::string()>& ask) {
  const auto end = std::chrono::steady_clock::now() + kPatience;
  std::string said;
  do {
    said = ask();
  } while (said != wanted && std::chrono::steady_clock::now() < end);
  return said;
}

TEST(SharedLimitsTest, TwoGatewaysNeverPassABudgetTogether) {
  const RedisServer server;
  OneGateway a(plan_on(server));
  OneGateway b(plan_on(server));
  constexpr int64_t kTokens = 20'000;
  const plan::Limits limits{.tokens_per_day = kTokens};
  std::atomic<int64_t> used{0};
  std::vector<std::thread> clients;
  clients.reserve(16);
  for (int i = 0; i < 16; ++i) {
    clients.emplace_back([&, i] {
      Rng rng(static_cast<uint64_t>(i) + 1);
      OneGateway& mine = i % 2 == 0 ? a : b;
      // Until not even a single token is left.
      for (int64_t most = 100; most > 0;) {
        auto answer = mine.reserve(limits, most);
        if (!answer) {
          ASSERT_EQ(OneGateway::word(answer), "tokens_per_day");
          most = most == 1 ? 0 : std::max<int64_t>(1, most / 2);
          continue;
        }
        const int64_t spent = rng.between(1, most);
        used += spent;
        answer->hold->settle({spent, 0});
      }
    });
  }
  for (std::thread& each : clients) each.join();
  EXPECT_LE(used, kTokens);
  // What came back while others were refused is still there, to the last token.
  while (used < kTokens && a.try_one(limits, 1) == "granted") {
    auto last = b.reserve(limits, 1);
    if (!last) break;
    last->hold->settle({1, 0});
    ++used;
  }
  EXPECT_EQ(used, kTokens);
  EXPECT_EQ(a.try_one(limits, 1), "tokens_per_day");
}

TEST(SharedLimitsTest, EveryLimitHasItsNameAndItsTime) {
  const RedisServer server;
  OneGateway gateway(plan_on(server));
  const auto refusal = [&](const plan::Limits& limits, int64_t tokens, int64_t micros) {
    const auto answer = gateway.reserve(limits, tokens, micros);
    EXPECT_FALSE(answer);
    return answer ? Refusal{} : answer.error().denial.refusal.value_or(Refusal{});
  };
  auto first = gateway.reserve({.requests_per_minute = 5}, 60, 70);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->left.requests->left, 4);
  EXPECT_EQ(first->left.requests->limit, 5);
  EXPECT_GT(first->left.requests->reset, seconds(58));
  EXPECT_FALSE(first->left.tokens);

  Refusal no = refusal({.requests_per_minute = 1}, 1, 1);
  EXPECT_EQ(no.limit, LimitKind::kRequestsPerMinute);
  EXPECT_GT(*no.retry_after, seconds(55));
  EXPECT_LE(*no.retry_after, seconds(61));
  no = refusal({.tokens_per_minute = 100}, 41, 0);
  EXPECT_EQ(no.limit, LimitKind::kTokensPerMinute);
  EXPECT_EQ(no.used, 60);
  EXPECT_EQ(no.asked, 41);
  EXPECT_EQ(no.retry_after, seconds(60));  // behind a settlement that is still to come
  EXPECT_EQ(refusal({.tokens_per_minute = 40}, 41, 0).retry_after, std::nullopt);
  no = refusal({.tokens_per_day = 100}, 41, 0);
  EXPECT_EQ(no.limit, LimitKind::kTokensPerDay);
  EXPECT_LE(*no.retry_after, std::chrono::days(1));
  EXPECT_EQ(refusal({.max_concurrent = 1}, 1, 0).limit, LimitKind::kConcurrency);
  EXPECT_EQ(refusal({.micros_per_day = 100}, 1, 31).limit, LimitKind::kMoneyPerDay);
  no = refusal({.micros_per_month = 100}, 1, 31);
  EXPECT_EQ(no.limit, LimitKind::kMoneyPerMonth);
  EXPECT_GT(*no.retry_after, seconds(0));
  EXPECT_LE(*no.retry_after, std::chrono::days(31));

  // Nothing that was refused is counted; what is settled is, until the minute is over.
  first->hold->settle({10, 20});
  EXPECT_EQ(gateway.try_one({.tokens_per_minute = 100}, 91), "tokens_per_minute");
  auto second = gateway.reserve({.tokens_per_minute = 100}, 90);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->left.tokens->left, 0);
  second->hold.reset();  // given back
  EXPECT_EQ(
      gateway.try_one({.tokens_per_day = 100, .max_concurrent = 1, .micros_per_day = 100}, 90, 80),
      "granted");
}

TEST(SharedLimitsTest, TenantAndKeyHoldSideBySide) {
  const RedisServer server;
  OneGateway gateway(plan_on(server));
  const plan::Limits wide{.tokens_per_minute = 1000};
  const plan::Limits narrow{.tokens_per_minute = 100};
  auto first = gateway.reserve(wide, 80, 0, narrow);
  ASSERT_TRUE(first);
  EXPECT_EQ(first->left.tokens->left, 20);
  EXPECT_EQ(first->left.tokens->limit, 100);
  const auto no = gateway.reserve(wide, 30, 0, narrow);
  ASSERT_FALSE(no);
  EXPECT_EQ(no.error().denial.subject, "key");
  EXPECT_EQ(no.error().left.tokens->left, 20);
  EXPECT_EQ(gateway.try_one(wide, 921), "tokens_per_minute");
  EXPECT_EQ(gateway.try_one(wide, 920), "granted");
}

TEST(SharedLimitsTest, WhatADeadGatewayHadReservedIsSpentAndItsPlacesAreFree) {
  const RedisServer server;
  plan::RedisPlan plan = plan_on(server);
  plan.lease = seconds(1);
  const plan::Limits limits{.tokens_per_day = 100, .max_concurrent = 1};
  std::shared_ptr<SharedLimits::Hold> never_settled;
  {
    OneGateway dying(plan);
    auto answer = dying.reserve(limits, 60);
    ASSERT_TRUE(answer);
    never_settled = std::move(answer->hold);
  }
  OneGateway other(plan);
  EXPECT_EQ(other.try_one(limits, 10), "concurrency");
  const auto said = ask_until("granted", [&] { return other.try_one(limits, 40); });
  EXPECT_EQ(said, "granted");
  EXPECT_EQ(other.try_one(limits, 41), "tokens_per_day");
}

TEST(SharedLimitsTest, ALivingGatewayKeepsItsPlaceBeyondTheLease) {
  const RedisServer server;
  plan::RedisPlan plan = plan_on(server);
  plan.lease = seconds(1);
  const plan::Limits limits{.max_concurrent = 1};
  OneGateway holder(plan);
  const auto held = holder.reserve(limits, 1);
  ASSERT_TRUE(held);
  OneGateway other(plan);
  const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2500);
  while (std::chrono::steady_clock::now() < end) {
    ASSERT_EQ(other.try_one(limits, 1), "concurrency");
  }
}

TEST(SharedLimitsTest, ALossIsToldAtOnceAndWhatWasUsedMeanwhileIsCharged) {
  RedisServer server;
  const plan::Limits limits{.tokens_per_day = 100};
  OneGateway gateway(plan_on(server));
  EXPECT_EQ(gateway.try_one(limits, 1), "granted");
  server.kill();
  EXPECT_EQ(ask_until("lost", [&] { return gateway.try_one(limits, 1); }), "lost");
  EXPECT_FALSE(gateway.limits->up());
  gateway.limits->charge({.tenant = "t", .key = "k", .tenant_limits = limits}, {70, 0});
  server.start();  // it kept nothing
  EXPECT_EQ(ask_until("granted", [&] { return gateway.try_one(limits, 30); }), "granted");
  EXPECT_EQ(ask_until("tokens_per_day", [&] { return gateway.try_one(limits, 31); }),
            "tokens_per_day");
  EXPECT_EQ(gateway.try_one(limits, 30), "granted");
}

// The question may have been heard, or be heard later: it must not count for ever.
TEST(SharedLimitsTest, WhatWasAskedInVainIsNotCounted) {
  RedisServer server;
  plan::RedisPlan plan = plan_on(server);
  plan.timeout = std::chrono::milliseconds(150);
  const plan::Limits limits{.tokens_per_day = 100, .max_concurrent = 1};
  OneGateway gateway(plan);
  server.stop_running();
  EXPECT_EQ(gateway.try_one(limits, 100), "lost");
  server.go_on();
  EXPECT_EQ(ask_until("granted", [&] { return gateway.try_one(limits, 100); }), "granted");
}

TEST(SharedLimitsTest, MonthsAreThoseOfTheCalendar) {
  const RedisServer server;
  const auto loop = *net::EventLoop::create();
  auto client = std::make_shared<net::RedisClient>(
      loop, net::RedisOptions{.unix_path = server.socket(), .timeout = seconds(20)},
      [](const Outcome&) {});
  std::vector<std::string> command = {
      "EVAL",
      std::string(kSharedLimitsLibrary) +
          "local out = {} for i = 3, #ARGV do out[i - 2] = month_of(tonumber(ARGV[i])) end "
          "return out",
      "1",
      "x",
      "g",
      "1"};
  std::vector<int64_t> days;
  for (int64_t day = 0; day < 40'000; day += day % 1461 < 62 ? 1 : 27) days.push_back(day);
  for (const int64_t day : days) command.push_back(std::to_string(day));
  Result<net::RedisReply> reply = fail(Code::kInternal, "no answer");
  loop->post([&] {
    client->start();
    client->call(command, [&](Result<net::RedisReply> answer) {
      reply = std::move(answer);
      loop->stop();
    });
  });
  loop->run();
  client->stop();
  ASSERT_TRUE(reply) << reply.error().message();
  ASSERT_EQ(reply->items.size(), days.size());
  for (size_t i = 0; i < days.size(); ++i) {
    const Moment at = moment_at({}, static_cast<double>(days[i]) * 86400.0);
    ASSERT_EQ(reply->integer_at(i, -1), at.month) << days[i];
  }
}

std::string shared_plan(const std::string& url, const RedisServer& server,
                        const std::string& on_loss) {
  std::string text = plan_text({url}, "    default_max_tokens: 77\n    cache: {ttl: 1h}\n");
  const std::string open = "    public: true\n";
  text.replace(text.find(open), open.size(), "");
  return text + "limits: {redis: {url: \"unix://" + server.socket() + "\", on_loss: " + on_loss +
         ", timeout: 10s, lease: 60s}}\n" +
         "tenants:\n  - name: t\n    limits: {requests_per_minute: 3}\n"
         "    keys: [{name: k, sha256: " +
         SecretDigest("the-key").hex() +
         "}]\n  - name: free\n    keys: [{name: k, sha256: " + SecretDigest("free-key").hex() +
         "}]\n";
}

net::HttpResponse post(RunningGateway& gateway, const std::string& key = "the-key",
                       const std::string& body = testing::kBody) {
  return gateway.post(body, {{"Authorization", "Bearer " + key}});
}

TEST(SharedQuotaTest, GatewaysCountTogether) {
  RunningUpstream upstream(answers("u"));
  const RedisServer server;
  const std::string plan = shared_plan(upstream.url(), server, "refuse");
  RunningGateway a(plan);
  RunningGateway b(plan);
  const net::HttpResponse first = post(a);
  EXPECT_EQ(first.status, 200);
  EXPECT_EQ(net::find_header(first.headers, "x-ratelimit-remaining-requests"), "2");
  // An answer from the cache counts like any other.
  const std::string sure = R"({"model":"m","prompt":"hi","temperature":0})";
  EXPECT_EQ(net::find_header(post(b, "the-key", sure).headers, "x-ratelimit-remaining-requests"),
            "1");
  const net::HttpResponse hit = post(b, "the-key", sure);
  EXPECT_EQ(net::find_header(hit.headers, "x-sluice-cache"), "hit");
  EXPECT_EQ(net::find_header(hit.headers, "x-ratelimit-remaining-requests"), "0");
  const net::HttpResponse no = post(a);
  EXPECT_EQ(no.status, 429);
  EXPECT_NE(no.body.find("requests_per_minute"), std::string::npos);
  EXPECT_FALSE(net::find_header(no.headers, "retry-after").empty());
  EXPECT_EQ(post(b, "the-key", sure).status, 429);
  EXPECT_EQ(post(a, "free-key").status, 200);
}

TEST(SharedQuotaTest, WithoutRedisTheConfiguredHappens) {
  RunningUpstream upstream(answers("u"));
  RedisServer server;
  RunningGateway refusing(shared_plan(upstream.url(), server, "refuse"));
  RunningGateway local(shared_plan(upstream.url(), server, "local"));
  RunningGateway allowing(shared_plan(upstream.url(), server, "allow"));
  EXPECT_EQ(post(refusing).status, 200);
  server.kill();
  const net::HttpResponse no = post(refusing);
  EXPECT_EQ(no.status, 503);
  EXPECT_NE(no.body.find("limits_unavailable"), std::string::npos);
  EXPECT_EQ(net::find_header(no.headers, "retry-after"), "1");
  EXPECT_EQ(post(refusing, "free-key").status, 200);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(post(local).status, 200);
  EXPECT_EQ(post(local).status, 429);
  for (int i = 0; i < 5; ++i) EXPECT_EQ(post(allowing).status, 200);
  const std::string metrics = refusing.metrics.render(true, false);
  EXPECT_NE(metrics.find("sluice_gateway_redis_up 0"), std::string::npos);
  EXPECT_NE(metrics.find("limit=\"redis_lost\""), std::string::npos);
  server.start();
  // What the others used meanwhile is told to Redis, so there is nothing left.
  const auto said = ask_until("429", [&] { return std::to_string(post(refusing).status); });
  EXPECT_EQ(said, "429");
}

TEST(SharedQuotaTest, AnotherRedisNeedsAnotherGateway) {
  RunningUpstream upstream(answers("u"));
  const RedisServer server;
  RunningGateway gateway(shared_plan(upstream.url(), server, "refuse"));
  const Outcome changed =
      gateway.gateway->apply(testing::plan_of(shared_plan(upstream.url(), server, "allow")));
  ASSERT_FALSE(changed);
  EXPECT_NE(changed.error().message().find("limits.redis"), std::string::npos);
}

}  // namespace
}  // namespace sluice::gateway
