// Requests to Sluice replicas through the whole gateway: its door, its queue, reloads, its log.
#include "gateway/unbroken_front.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/files.h"
#include "gateway/fake_replica_test_support.h"
#include "gateway/gateway.h"
#include "gateway/gateway_test_support.h"
#include "gateway/running_front_test_support.h"
#include "gateway/unbroken_fallback.h"
#include "net/test_support.h"

namespace sluice::gateway {
namespace {

using net::testing::Signal;
using testing::FakeReplica;
using testing::kAsk;
using testing::Mishap;
using testing::plan_text;
using testing::RunningFront;

TEST(UnbrokenFront, AStreamGoesOnUnderThePlanThatItBeganUnder) {
  FakeReplica first;
  FakeReplica second;
  // Five tokens, then nothing until it is let go.
  first.mishap = Mishap::kWait;
  second.mishap = Mishap::kWait;
  RunningFront running(plan_text({first.url, second.url}));
  std::string got;
  Signal some;
  Signal ended;
  running.client.request({.method = "POST", .url = running.url("/v1/completions"), .body = kAsk},
                         {.on_data =
                              [&](std::string_view bytes) {
                                got += bytes;
                                some.set();
                              },
                          .on_end =
                              [&](const Outcome& outcome) {
                                EXPECT_TRUE(outcome);
                                ended.set();
                              }});
  ASSERT_TRUE(some.wait());
  ASSERT_EQ(first.requests + second.requests, 1);
  FakeReplica& holder = first.requests == 1 ? first : second;
  FakeReplica& other = &holder == &first ? second : first;
  other.mishap = Mishap::kNone;
  EXPECT_TRUE(
      running.gateway->apply(testing::plan_of(plan_text({first.url, second.url}, "renamed"))));
  holder.let_go();
  ASSERT_TRUE(ended.wait());
  EXPECT_TRUE(got.contains("t11 ")) << got;
  EXPECT_FALSE(got.contains("error")) << got;
  EXPECT_EQ(other.requests, 1);
}

TEST(UnbrokenFront, ModelsAreFoundAsRoutesMatchThem) {
  RunningFront running(plan_text({"http://127.0.0.1:1"}, "r",
                                 "    match: {models: [\"story-*\"], headers: {x-a: b}}\n"));
  EXPECT_EQ(running.front.route_of_model("story-1").value_or(""), "r");
  EXPECT_FALSE(running.front.route_of_model("stories"));
}

TEST(UnbrokenFront, AnErrorInMidStreamStandsInTheLog) {
  const auto path = std::filesystem::temp_directory_path() /
                    ("unbroken_front_test_" + std::to_string(::getpid()) + ".log");
  std::filesystem::remove(path);
  {
    FakeReplica replica;
    replica.mishap = Mishap::kCut;
    RunningFront running(
        "access_log: {path: " + path.string() + "}\n" +
        plan_text({replica.url}, "r", "    unbroken: {resume_wait: 0s, resumes: 0}\n"));
    EXPECT_TRUE(running.post(kAsk).body.contains("resume_failed"));
    replica.mishap = Mishap::kNone;
    EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  }
  const std::string log = *read_file(path, 1 << 20);
  std::filesystem::remove(path);
  ASSERT_EQ(std::ranges::count(log, '\n'), 2);
  const std::string first = log.substr(0, log.find('\n'));
  EXPECT_TRUE(first.contains(R"("ending":"cut","error":"resume_failed")")) << first;
  EXPECT_TRUE(log.substr(first.size()).contains(R"("ending":"answered")")) << log;
}

TEST(UnbrokenFront, ItsOwnErrorsSpeakTheClientsDialect) {
  RunningFront running(
      plan_text({"http://127.0.0.1:1"}, "r", "    queue: {max_concurrent: 1, max_waiting: 0}\n"));
  Admission::Permit held;
  ASSERT_TRUE(running.route().memory()->admission->ask(
      {}, [&](Admission::Permit permit) { held = std::move(permit); }));
  const auto full = running.post(kAsk, "/v1/messages");
  EXPECT_EQ(full.status, 429);
  EXPECT_TRUE(full.body.starts_with(R"({"type":"error","error":{)")) << full.body;
  EXPECT_FALSE(net::find_header(full.headers, "x-request-id").empty());
}

// The one block of the prompt that every FakeReplica finds in every text.
std::vector<PrefixChange> block_of_the_prompt(bool stored) {
  const std::vector<int32_t> tokens = {5, 6};
  return {{prefix_tag(extend_prefix(prompt_salt("", ""), tokens)), stored}};
}

// The watcher is looked after by time: it is waited for, however long it takes.
template <typename Condition>
void wait_until(Condition condition) {
  const TimePoint end = system_clock().now() + std::chrono::seconds(30);
  while (!condition() && system_clock().now() < end) std::this_thread::yield();
  EXPECT_TRUE(condition());
}

TEST(UnbrokenFront, PromptsGoWhereTheirBlocksAreAndAreTokenizedOnce) {
  FakeReplica first;
  FakeReplica second;
  second.hold(block_of_the_prompt(true));
  RunningFront running(plan_text({first.url, second.url}, "r", "    prefix: {imbalance: 1000}\n",
                                 "prefix_affinity"));
  running.gateway->begin();
  const auto upstream = running.gateway->snapshot()->upstreams().at("u");
  wait_until([&] { return upstream->blocks()->synced() == 2; });
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  EXPECT_EQ(second.requests, 6);
  EXPECT_EQ(first.tokenized + second.tokenized, 6);
  EXPECT_EQ(second.sent_as_ids, 6) << "nobody tokenizes them again";
  // It moves.
  second.hold(block_of_the_prompt(false));
  first.hold(block_of_the_prompt(true));
  auto& directory = upstream->blocks()->directory();
  const auto shape = upstream->blocks()->shape("m");
  const std::vector<int32_t> tokens = {5, 6};
  const auto holders = [&] {
    const SlotSet both{{3, 0}};
    return directory.find(block_chain(tokens, *shape, "", ""), both).slots.bits[0];
  };
  wait_until([&] { return holders() == 1; });
  EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  EXPECT_EQ(first.requests, 1);
  // A stream that breaks is begun anew, and what it told before is forgotten.
  first.drop_block_streams();
  wait_until([&] { return first.block_readers == 2 && upstream->blocks()->synced() == 2; });
  wait_until([&] { return holders() == 1; });
  // Who asks no more for blocks reads none.
  EXPECT_TRUE(running.gateway->apply(testing::plan_of(plan_text({first.url, second.url}))));
  EXPECT_EQ(upstream->blocks(), nullptr);
  EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  EXPECT_EQ(first.sent_as_ids + second.sent_as_ids, 7);
  running.gateway->end();
}

TEST(UnbrokenFront, WhoeverHasOtherNumericsIsSentTheText) {
  FakeReplica first;
  FakeReplica second;
  second.fingerprint = "fp_2";
  second.hold(block_of_the_prompt(true));
  RunningFront running(plan_text({first.url, second.url}, "r", "    prefix: {imbalance: 1000}\n",
                                 "prefix_affinity"));
  running.gateway->begin();
  const auto upstream = running.gateway->snapshot()->upstreams().at("u");
  wait_until([&] { return upstream->blocks()->synced() == 2; });
  for (int i = 0; i < 6; ++i) EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  EXPECT_EQ(second.requests, 6);
  EXPECT_GT(first.tokenized, 0);
  EXPECT_EQ(second.sent_as_ids, second.tokenized)
      << "those that another one tokenized came as text";
  running.gateway->end();
}

TEST(UnbrokenFront, IdsStandInPlaceOfTheTextsThatTheyAreOf) {
  TokenizedPrompts found{.upstream = "u", .model = "m", .fingerprint = "fp_1", .tokens = {}};
  found.tokens.emplace_back(std::vector<int32_t>{5, 6});
  completion::Request request;
  request.prompts = {completion::TextPrompt{"x", true}, completion::TextPrompt{"y", true}};
  EXPECT_EQ(known_tokens(request, &found, 0).size(), 2u);
  put_tokens(found, request);
  EXPECT_EQ(known_tokens(request, nullptr, 0).size(), 2u);
  EXPECT_TRUE(known_tokens(request, &found, 1).empty());
  request.truncate_prompt_tokens = 1;
  EXPECT_EQ(computed_tokens(request, known_tokens(request, nullptr, 0)).front(), 6);
}

// Two upstreams of one replica each; route "r" goes to the first.
std::string two_upstreams(const FakeReplica& first, const FakeReplica& second,
                          const std::string& more, const std::string& tenants = "") {
  const auto upstream = [](const char* name, const std::string& url) {
    return std::string("  - {name: ") + name +
           ", kind: sluice, internal_token: {env: T}, health: {active: false}, endpoints: [{url: "
           "\"" +
           url + "\"}]}\n";
  };
  return "upstreams:\n" + upstream("u", first.url) + upstream("v", second.url) +
         "routes:\n  - name: r\n    public: true\n    targets: [{upstream: u}]\n"
         "    retry: {attempts: 0}\n" +
         more + tenants;
}

TEST(UnbrokenFront, AFallbackAnswersWhileNothingWasTold) {
  FakeReplica first;
  FakeReplica second;
  first.mishap = Mishap::kRefuse;
  RunningFront running(two_upstreams(first, second, "    fallbacks: [{upstream: v}]\n"));
  EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  EXPECT_EQ(second.requests, 1);
  // Behind the first token it is another answer: that of equal numerics, or none.
  first.mishap = Mishap::kCut;
  RunningFront short_wait(two_upstreams(
      first, second,
      "    fallbacks: [{upstream: v}]\n    unbroken: {resume_wait: 0s, resumes: 0}\n"));
  EXPECT_TRUE(short_wait.post(kAsk).body.contains("resume_failed"));
  EXPECT_EQ(second.requests, 1);
}

TEST(UnbrokenFront, AFallbackIsForTheFailuresThatItNames) {
  FakeReplica first;
  FakeReplica second;
  first.mishap = Mishap::kRefuse;
  RunningFront running(
      two_upstreams(first, second, "    fallbacks: [{upstream: v, on: [timeout]}]\n"));
  EXPECT_EQ(running.post(kAsk).status, 429);
  EXPECT_EQ(second.requests, 0);
  EXPECT_EQ(error_class_of({Code::kInvalidArgument, "", "prompt", "context_length_exceeded"}),
            plan::ErrorClass::kContext);
  EXPECT_FALSE(error_class_of({Code::kInvalidArgument, ""}));
  EXPECT_FALSE(error_class_of({Code::kCancelled, ""}));
}

TEST(UnbrokenFront, CopiesGoTypedAndAreCompared) {
  FakeReplica first;
  FakeReplica second;
  RunningFront running(two_upstreams(first, second, "    mirror: {upstream: v}\n"));
  const auto compared = [&](const char* outcome) {
    return running.metrics
        .counter(telemetry::View::kNative, "sluice_gateway_mirror_compared_total",
                 "Copies compared with the answers that clients got.",
                 {{"route", "r"}, {"outcome", outcome}})
        .Value();
  };
  EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  wait_until([&] { return compared("same") == 1; });
  EXPECT_EQ(first.seed, second.seed) << "a copy draws the same numbers";
  second.mishap = Mishap::kRefuse;
  EXPECT_TRUE(running.post(kAsk).body.contains("t11 "));
  wait_until([&] { return compared("different_status") == 1; });
  EXPECT_EQ(first.requests, 2);
  wait_until([&] { return running.route().memory()->mirrors == 0; });
}

// Notes how deep in the stack it is answered.
struct DepthResponder : net::Responder {
  DepthResponder(std::vector<uintptr_t>& at, Signal& sent) : depths(at), answered(sent) {}
  void send(net::HttpResponse) override {
    depths.push_back(reinterpret_cast<uintptr_t>(__builtin_frame_address(0)));
    answered.set();
  }
  void start(int, net::Headers) override {}
  bool write(std::string_view) override { return true; }
  void finish() override {}
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }

  std::vector<uintptr_t>& depths;
  Signal& answered;
};

TEST(UnbrokenFront, WhoeverGetsAPlaceDoesNotStandOnWhoeverLeft) {
  constexpr int kWaiting = 200;
  RunningFront running(plan_text({"http://127.0.0.1:1"}, "r",
                                 "    queue: {max_concurrent: 1, max_waiting: 1000}\n"));
  std::vector<uintptr_t> depths;
  Signal answered;
  Signal asked;
  auto held = std::make_shared<Admission::Permit>();
  const auto snapshot = running.gateway->snapshot();
  running.loop->post([&] {
    Route& route = *snapshot->routes().front();
    static_cast<void>(route.memory()->admission->ask(
        {}, [&](Admission::Permit permit) { *held = std::move(permit); }));
    for (int i = 0; i < kWaiting; ++i) {
      RelayRequest request;
      request.http = testing::request_of("/v1/nothing-of-ours");
      request.responder = std::make_shared<DepthResponder>(depths, answered);
      request.snapshot = snapshot;
      request.route = &route;
      running.front.answer(std::move(request));
    }
    EXPECT_EQ(route.memory()->admission->waiting(), kWaiting);
    held.reset();
  });
  ASSERT_TRUE(answered.wait(kWaiting)) << "each is refused at once, and leaves its place";
  const auto [least, most] = std::ranges::minmax(depths);
  EXPECT_LT(most - least, 16u << 10);
}

}  // namespace
}  // namespace sluice::gateway
