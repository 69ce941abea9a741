#include "gateway/response_cache.h"

#include "base/clock.h"
#include "gateway/running_test_support.h"

namespace sluice::gateway {
namespace {

using net::HttpRequest;
using net::HttpResponse;
using std::chrono::seconds;
using testing::fails;
using testing::plan_text;
using testing::Responder;
using testing::RunningGateway;
using testing::RunningUpstream;
using testing::ScriptedUpstream;

const std::string kFixed = R"({"model":"m","prompt":"hi","temperature":0})";
const std::string kCached = "    cache: {ttl: 1m}\n";

std::string cache_state(const HttpResponse& response) {
  return std::string(net::find_header(response.headers, "x-sluice-cache"));
}

// Answers with its own count, so that an answer given again is told from a new one.
ScriptedUpstream::Script counts() {
  auto count = std::make_shared<std::atomic<int>>(0);
  return [count](const HttpRequest&, const Responder& responder) {
    responder->send(ScriptedUpstream::json("{\"n\":" + std::to_string(++*count) + "}"));
  };
}

TEST(ResponseCache, GivesTheSameAnswerToTheSameRequest) {
  RunningUpstream upstream(counts());
  RunningGateway gateway(plan_text({upstream.url()}, kCached));
  const HttpResponse first = gateway.post(kFixed);
  EXPECT_EQ(cache_state(first), "miss");
  const HttpResponse again =
      gateway.post("{ \"temperature\": 0.0, \"prompt\": \"h\\u0069\", \"model\": \"m\" }");
  EXPECT_EQ(cache_state(again), "hit");
  EXPECT_EQ(again.status, 200);
  EXPECT_EQ(again.body, first.body);
  EXPECT_EQ(net::find_header(again.headers, "content-type"), "application/json");
  EXPECT_EQ(net::find_header(again.headers, "age"), "0");
  EXPECT_FALSE(net::find_header(again.headers, "x-request-id").empty());
  EXPECT_NE(net::find_header(again.headers, "x-request-id"),
            net::find_header(first.headers, "x-request-id"));
  EXPECT_EQ(upstream.handler->count(), 1);
}

TEST(ResponseCache, OnlyWhatDoesNotDependOnChance) {
  RunningUpstream upstream(counts());
  RunningGateway gateway(plan_text({upstream.url()}, kCached));
  for (const std::string body :
       {R"({"model":"m","prompt":"hi"})", R"({"model":"m","prompt":"hi","temperature":0.1})",
        R"({"model":"m","prompt":"hi","seed":null})", R"({"model":"m","prompt":"hi","seed":"x"})",
        R"({"model":"m","prompt":"hi","parameters":{"temperature":1}})", R"([1])"}) {
    for (int i = 0; i < 2; ++i) EXPECT_EQ(cache_state(gateway.post(body)), "") << body;
  }
  for (const std::string body :
       {R"({"model":"m","prompt":"hi","seed":7})", R"({"model":"m","input":"a","temperature":0})",
        R"({"model":"m","text_input":"hi","parameters":{"temperature":0}})"}) {
    EXPECT_EQ(cache_state(gateway.post(body)), "miss") << body;
    EXPECT_EQ(cache_state(gateway.post(body)), "hit") << body;
  }
  const std::string embed = R"({"model":"m","input":"hi"})";
  EXPECT_EQ(cache_state(gateway.post(embed, {}, "/v1/embeddings")), "miss");
  EXPECT_EQ(cache_state(gateway.post(embed, {}, "/v1/embeddings")), "hit");
}

TEST(ResponseCache, ErrorsAreNotKept) {
  RunningUpstream upstream(fails(400));
  RunningGateway gateway(plan_text({upstream.url()}, kCached));
  EXPECT_EQ(gateway.post(kFixed).status, 400);
  EXPECT_EQ(gateway.post(kFixed).status, 400);
  EXPECT_EQ(upstream.handler->count(), 2);
}

TEST(ResponseCache, CallersMayWantANewOne) {
  RunningUpstream upstream(counts());
  RunningGateway gateway(plan_text({upstream.url()}, kCached));
  EXPECT_EQ(gateway.post(kFixed, {{"Cache-Control", "No-Store"}}).body, R"({"n":1})");
  EXPECT_EQ(gateway.post(kFixed).body, R"({"n":2})");
  EXPECT_EQ(gateway.post(kFixed, {{"Cache-Control", "max-age=0, no-cache"}}).body, R"({"n":3})");
  EXPECT_EQ(gateway.post(kFixed).body, R"({"n":3})");
}

TEST(ResponseCache, StreamsAreGivenAgainAsStreams) {
  std::atomic<bool> whole = false;
  RunningUpstream upstream([&](const HttpRequest&, const Responder& responder) {
    responder->start(200, {{"Content-Type", "text/event-stream"}});
    responder->write("data: {\"text\":\"a\"}\n\n");
    responder->write("data: {\"text\":\"b\"}\n\n");
    if (whole) responder->write("data: [DONE]\n\n");
    responder->finish();
  });
  RunningGateway gateway(plan_text({upstream.url()}, kCached));
  const std::string body = R"({"model":"m","prompt":"hi","seed":1,"stream":true})";
  gateway.post(body);  // ends without its last word: not kept
  whole = true;
  const HttpResponse first = gateway.post(body);
  EXPECT_EQ(cache_state(first), "miss");
  const HttpResponse second = gateway.post(body);
  EXPECT_EQ(cache_state(second), "hit");
  EXPECT_EQ(second.body, first.body);
  EXPECT_TRUE(second.body.ends_with("data: [DONE]\n\n"));
  EXPECT_EQ(net::find_header(second.headers, "content-type"), "text/event-stream");
  EXPECT_EQ(upstream.handler->count(), 2);
}

TEST(ResponseCache, NothingCrossesFromOneTenantToAnother) {
  RunningUpstream upstream(counts());
  std::string text = plan_text({upstream.url()}, kCached);
  text.replace(text.find("    public: true\n"), sizeof("    public: true\n") - 1, "");
  const auto key = [](const std::string& name, const std::string& secret) {
    return "{name: " + name + ", sha256: " + SecretDigest(secret).hex() + "}";
  };
  RunningGateway gateway(text + "tenants:\n  - name: a\n    limits: {requests_per_minute: 3}\n" +
                         "    keys: [" + key("k", "key-of-a") + ", " + key("l", "second-key-of-a") +
                         "]\n  - name: b\n    keys: [" + key("k", "key-of-b") + "]\n");
  const auto as = [&](const std::string& key) {
    return gateway.post(kFixed, {{"Authorization", "Bearer " + key}});
  };
  EXPECT_EQ(as("key-of-a").body, R"({"n":1})");
  EXPECT_EQ(as("key-of-b").body, R"({"n":2})");
  const HttpResponse again = as("second-key-of-a");
  EXPECT_EQ(again.body, R"({"n":1})");
  EXPECT_EQ(net::find_header(again.headers, "x-ratelimit-remaining-requests"), "1");
  EXPECT_EQ(as("key-of-a").status, 200);
  EXPECT_EQ(as("key-of-a").status, 429);  // a hit counts as a request
}

CachedAnswer answer_of(size_t bytes, TimePoint made = {}) {
  return {.headers = {}, .body = std::string(bytes, 'x'), .streamed = false, .made = made};
}

TEST(ResponseCache, IsBoundedAndForgetsWhatWasUsedTheLongestAgo) {
  ManualClock clock;
  ResponseCache cache(clock);
  cache.set_max_bytes(64u << 10);
  for (int i = 0; i < 40; ++i) cache.store("key" + std::to_string(i), answer_of(4000, clock.now()));
  EXPECT_LE(cache.bytes(), 64u << 10);
  EXPECT_GT(cache.size(), 10u);
  EXPECT_EQ(cache.find("key0", seconds(60)), nullptr);
  const size_t oldest = 40 - cache.size();
  ASSERT_NE(cache.find("key" + std::to_string(oldest), seconds(60)), nullptr);  // used: stays
  cache.store("new", answer_of(4000, clock.now()));
  EXPECT_NE(cache.find("key" + std::to_string(oldest), seconds(60)), nullptr);
  EXPECT_EQ(cache.find("key" + std::to_string(oldest + 1), seconds(60)), nullptr);
  cache.store("large", answer_of(9000, clock.now()));
  EXPECT_EQ(cache.find("large", seconds(60)), nullptr);
  cache.set_max_bytes(0);
  EXPECT_EQ(cache.bytes(), 0u);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(ResponseCache, AnswersGrowOld) {
  ManualClock clock;
  ResponseCache cache(clock);
  cache.set_max_bytes(1u << 20);
  cache.store("k", answer_of(10, clock.now()));
  clock.advance(seconds(60));
  EXPECT_NE(cache.find("k", seconds(60)), nullptr);
  clock.advance(seconds(1));
  EXPECT_EQ(cache.find("k", seconds(60)), nullptr);
  EXPECT_EQ(cache.size(), 0u);
}

TEST(ResponseCache, RecordingHasABoundOfItsOwn) {
  ManualClock clock;
  ResponseCache cache(clock);
  cache.set_max_bytes(100);
  EXPECT_TRUE(cache.take_room(60));
  EXPECT_FALSE(cache.take_room(60));
  cache.give_room(60);
  EXPECT_TRUE(cache.take_room(100));
}

}  // namespace
}  // namespace sluice::gateway
