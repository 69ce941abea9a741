// Requests that come typed: keys, routes, places, their end.
#include "gateway/typed_door.h"

#include <gtest/gtest.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include "gateway/fake_replica_test_support.h"
#include "gateway/running_front_test_support.h"
#include "net/test_support.h"

namespace sluice::gateway {
namespace {

using net::testing::Signal;
using testing::FakeReplica;
using testing::Mishap;
using testing::RunningFront;

class Sink : public completion::ResponseSink {
 public:
  void on_start(completion::PromptInfo) override {}
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    const std::lock_guard lock(mutex_);
    text_ += delta.text;
    some.set();
  }
  void on_done(const completion::Usage&) override { ended.set(); }
  void on_error(const Status& status) override {
    {
      const std::lock_guard lock(mutex_);
      error_ = status;
    }
    ended.set();
  }
  std::string text() {
    const std::lock_guard lock(mutex_);
    return text_;
  }
  std::optional<Status> error() {
    const std::lock_guard lock(mutex_);
    return error_;
  }
  Signal some;
  Signal ended;

 private:
  std::mutex mutex_;
  std::string text_;
  std::optional<Status> error_;
};

// A gateway with a tenant "t" whose key "secret" may use model m; route "r" has `more`.
struct Door {
  explicit Door(const std::string& url, const std::string& more = "",
                const char* is_public = "false")
      : running(
            "upstreams:\n  - name: u\n    kind: sluice\n    internal_token: {env: T}\n"
            "    health: {active: false}\n    endpoints: [{url: \"" +
            url + "\", name: r0}]\nroutes:\n  - name: r\n    public: " + is_public +
            "\n    match: {models: [m, n]}\n    targets: [{upstream: u}]\n" + more +
            "tenants:\n  - {name: t, models: [m], keys: [{name: k, key: {env: K}}]}\n"),
        door(*running.gateway, running.front, *running.loop, running.workers) {}

  std::shared_ptr<const TypedCaller> caller(const std::string& key = "secret") {
    net::Headers headers;
    if (!key.empty()) headers.emplace_back("authorization", "Bearer " + key);
    return door.identify(std::move(headers), "ipv4:10.0.0.1:99").value_or(nullptr);
  }
  Result<std::shared_ptr<completion::Call>> ask(const std::shared_ptr<Sink>& sink,
                                                const std::string& model = "m") {
    completion::Request request;
    request.model = model;
    request.prompts = {completion::TextPrompt{"x", true}};
    request.sampling.max_tokens = 12;
    request.context = caller();
    return door.generate(std::move(request), sink);
  }
  Admission& admission() { return *running.route().memory()->admission; }

  RunningFront running;
  TypedDoor door;
};

TEST(TypedDoor, KnowsCallersAndTheirModels) {
  Door at("http://127.0.0.1:1");
  const auto known = at.caller();
  ASSERT_TRUE(known);
  EXPECT_EQ(known->caller.tenant_name(), "t");
  EXPECT_EQ(known->peer, "10.0.0.1");
  EXPECT_FALSE(at.caller("wrong"));
  EXPECT_FALSE(at.caller("")) << "no route is public";
  EXPECT_TRUE(at.door.may_use(*known, "m"));
  EXPECT_EQ(at.door.may_use(*known, "n").error().code(), Code::kNotFound) << "not this key's";
  EXPECT_EQ(at.door.may_use(*known, "z").error().code(), Code::kNotFound);
  EXPECT_EQ(at.door.check_admin(known->headers).error().code(), Code::kPermissionDenied);
  EXPECT_EQ(at.door.check_admin({}).error().code(), Code::kUnauthenticated);
  Door open("http://127.0.0.1:1", "", "true");
  const auto nobody = open.caller("");
  ASSERT_TRUE(nobody);
  EXPECT_EQ(open.door.identify({}, "ipv6:%5B::1%5D:80").value()->peer, "::1");
}

TEST(TypedDoor, AnAnswerOutlivesItsReplicaAndGivesItsPlaceBack) {
  FakeReplica replica;
  replica.mishap = Mishap::kWait;
  Door at(replica.url);
  const auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(at.ask(sink));
  ASSERT_TRUE(sink->some.wait());
  EXPECT_EQ(at.admission().running(), 1);
  replica.mishap = Mishap::kNone;
  replica.let_go();
  ASSERT_TRUE(sink->ended.wait());
  EXPECT_EQ(sink->text(), testing::kWhole);
  EXPECT_FALSE(sink->error());
  EXPECT_EQ(replica.requests, 2);
}

TEST(TypedDoor, WaitsForAPlaceAndMayLeaveTheQueue) {
  FakeReplica replica;
  Door at(replica.url, "    queue: {max_concurrent: 1, max_waiting: 1, max_wait: 60s}\n");
  std::optional<Admission::Permit> held;
  ASSERT_TRUE(at.admission().ask({}, [&](Admission::Permit permit) { held = std::move(permit); }));
  const auto leaving = std::make_shared<Sink>();
  const auto call = at.ask(leaving);
  ASSERT_TRUE(call);
  (*call)->cancel();
  ASSERT_TRUE(leaving->ended.wait());
  EXPECT_EQ(leaving->error()->code(), Code::kCancelled);
  EXPECT_EQ(replica.requests, 0);

  const auto waiting = std::make_shared<Sink>();
  ASSERT_TRUE(at.ask(waiting));
  const auto one_too_many = std::make_shared<Sink>();
  ASSERT_TRUE(at.ask(one_too_many));
  ASSERT_TRUE(one_too_many->ended.wait());
  EXPECT_EQ(one_too_many->error()->code(), Code::kResourceExhausted);
  held.reset();
  ASSERT_TRUE(waiting->ended.wait());
  EXPECT_EQ(waiting->text(), testing::kWhole);
}

TEST(TypedDoor, WaitsForAReplicaAndMayLeave) {
  FakeReplica replica;
  RunningFront running(
      "upstreams: [{name: u, kind: sluice, internal_token: {env: T}, health: {active: false}, "
      "endpoints: [], hold: {max_held: 2}}]\n"
      "routes: [{name: r, public: true, targets: [{upstream: u}]}]\n");
  TypedDoor door(*running.gateway, running.front, *running.loop, running.workers);
  const auto caller = *door.identify({}, "");
  const auto ask = [&](const std::shared_ptr<Sink>& sink) {
    completion::Request request;
    request.model = "m";
    request.prompts = {completion::TextPrompt{"x", true}};
    request.sampling.max_tokens = 12;
    request.context = caller;
    return door.generate(std::move(request), sink);
  };
  const auto upstream = running.gateway->snapshot()->upstreams().at("u");
  const auto held = [&](int count) {
    while (upstream->hold()->waiting() != count) std::this_thread::yield();
  };
  const auto waiting = std::make_shared<Sink>();
  ASSERT_TRUE(ask(waiting));
  held(1);
  const auto leaving = std::make_shared<Sink>();
  const auto call = ask(leaving);
  ASSERT_TRUE(call);
  held(2);
  const auto one_too_many = std::make_shared<Sink>();
  ASSERT_TRUE(ask(one_too_many));
  ASSERT_TRUE(one_too_many->ended.wait());
  EXPECT_EQ(one_too_many->error()->reason(), "hold_full");
  (*call)->cancel();
  ASSERT_TRUE(leaving->ended.wait());
  EXPECT_EQ(leaving->error()->code(), Code::kCancelled);
  held(1);
  upstream->set_endpoints({{.name = "r0", .url = replica.url}});
  ASSERT_TRUE(waiting->ended.wait());
  EXPECT_EQ(waiting->text(), testing::kWhole);
  EXPECT_EQ(replica.requests, 1);
}

TEST(TypedDoor, WhatMayNotBeAskedIsRefusedAtOnce) {
  FakeReplica replica;
  Door at(replica.url);
  const auto sink = std::make_shared<Sink>();
  EXPECT_EQ(at.ask(sink, "n").error().code(), Code::kNotFound);
  EXPECT_EQ(at.ask(sink, "z").error().reason(), "model_not_found");
  EXPECT_EQ(replica.requests, 0);
}

TEST(TypedDoor, ServersOfAnotherMakeDoNotUnderstandIt) {
  RunningFront running(
      "upstreams:\n  - {name: u, health: {active: false}, endpoints: [{url: "
      "\"http://127.0.0.1:1\"}]}\nroutes:\n  - {name: r, public: true, targets: [{upstream: "
      "u}]}\n");
  TypedDoor door(*running.gateway, running.front, *running.loop, running.workers);
  completion::Request request;
  request.model = "m";
  request.prompts = {completion::TextPrompt{"x", true}};
  request.context = *door.identify({}, "");
  EXPECT_EQ(door.generate(std::move(request), std::make_shared<Sink>()).error().code(),
            Code::kUnimplemented);
}

}  // namespace
}  // namespace sluice::gateway
