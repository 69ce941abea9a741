// UnbrokenBackend over real sockets: replicas that break in every way, in this process.

#include "gateway/unbroken_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>

#include "base/json.h"
#include "gateway/fake_replica_test_support.h"

namespace sluice::gateway {
namespace {

using namespace std::chrono_literals;

using testing::FakeReplica;
using testing::kTokens;
using testing::kWhole;
using testing::Mishap;

class Sink : public completion::ResponseSink {
 public:
  void on_start(completion::PromptInfo) override {}
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    const std::lock_guard lock(mutex_);
    text += delta.text;
    changed_.notify_all();
  }
  void on_done(const completion::Usage& all) override { end(all, {}); }
  void on_error(const Status& status) override { end({}, status); }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
  }
  void wait_for_text() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_ || !text.empty(); });
  }

  std::string text;
  completion::Usage usage;
  std::optional<Status> error;

 private:
  void end(const completion::Usage& all, std::optional<Status> status) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_);
    usage = all;
    error = std::move(status);
    ended_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

class UnbrokenBackendTest : public ::testing::Test, public ReplicaChooser, public UnbrokenRoutes {
 public:
  Result<ReplicaLease> choose(const ChooseRequest& request) override {
    if (--away_ >= 0) return fail(Code::kUnavailable, "none is there yet");
    for (const auto& replica : replicas_) {
      if (std::ranges::find(request.excluded, replica->url) != request.excluded.end()) continue;
      auto info = std::make_shared<ReplicaInfo>();
      info->name = info->url = replica->url;
      ++leases_;
      return ReplicaLease(info, [this](UseResult result, Duration) {
        const std::lock_guard lock(results_mutex_);
        --leases_;
        results_.push_back(result);
      });
    }
    return fail(Code::kUnavailable, "none is left");
  }
  Result<UnbrokenRoute> route(const completion::Request&) const override { return route_; }
  Result<std::string> route_of_model(const std::string&) const override { return std::string("r"); }
  std::vector<std::string> models() const override { return {"m"}; }

 protected:
  void TearDown() override {
    backend_.reset();
    EXPECT_EQ(leases_, 0) << "a lease was not given back";
  }
  static completion::Request request() {
    completion::Request request;
    request.model = "m";
    request.prompts = {completion::TextPrompt{"x", true}};
    return request;
  }
  std::shared_ptr<Sink> run() {
    auto sink = std::make_shared<Sink>();
    EXPECT_TRUE(backend_->generate(request(), sink));
    sink->wait();
    return sink;
  }

  std::mutex results_mutex_;
  std::vector<UseResult> results_;
  std::atomic<int> leases_{0};
  std::atomic<int> away_{0};  // how often no replica is found
  UnbrokenRoute route_;
  std::vector<std::unique_ptr<FakeReplica>> replicas_ = [] {
    std::vector<std::unique_ptr<FakeReplica>> two;
    two.push_back(std::make_unique<FakeReplica>());
    two.push_back(std::make_unique<FakeReplica>());
    return two;
  }();
  net::HttpClient client_;
  telemetry::Metrics metrics_;
  std::unique_ptr<UnbrokenBackend> backend_ =
      std::make_unique<UnbrokenBackend>(*this, *this, client_, metrics_);
};

TEST_F(UnbrokenBackendTest, WhateverBreaksTheAnswerIsWhole) {
  route_.rules.hang_after = 200ms;
  for (const Mishap mishap : {Mishap::kNone, Mishap::kCut, Mishap::kHang, Mishap::kGarbage,
                              Mishap::kRefuse, Mishap::kBusy, Mishap::kFail}) {
    for (const int after : {0, 1, 7, kTokens - 1}) {
      replicas_[0]->mishap = mishap;
      replicas_[0]->after = after;
      const auto sink = run();
      ASSERT_FALSE(sink->error) << sink->error->message();
      EXPECT_EQ(sink->text, kWhole) << static_cast<int>(mishap) << " after " << after;
      EXPECT_EQ(sink->usage.completion_tokens, kTokens);
      EXPECT_EQ(sink->usage.prompt_tokens, 3);
      if (mishap == Mishap::kCut) EXPECT_EQ(replicas_[0]->seed, replicas_[1]->seed);
    }
  }
}

TEST_F(UnbrokenBackendTest, AReplicaThatIsGoneIsPassedOver) {
  replicas_.insert(replicas_.begin(), std::make_unique<FakeReplica>());
  const std::string gone = replicas_[0]->url;
  replicas_[0] = std::make_unique<FakeReplica>();
  replicas_[0]->url = gone;
  EXPECT_EQ(run()->text, kWhole);
  backend_.reset();  // the last lease may be given back behind the answer's end
  EXPECT_NE(std::ranges::find(results_, UseResult::kNotReached), results_.end());
}

TEST_F(UnbrokenBackendTest, CancelReachesTheReplica) {
  replicas_[0]->mishap = Mishap::kWait;
  auto sink = std::make_shared<Sink>();
  const auto call = backend_->generate(request(), sink);
  ASSERT_TRUE(call);
  sink->wait_for_text();
  (*call)->cancel();
  sink->wait();
  EXPECT_EQ(sink->error->code(), Code::kCancelled);
  while (replicas_[0]->left == 0) std::this_thread::yield();
  EXPECT_EQ(replicas_[1]->requests, 0);
}

TEST_F(UnbrokenBackendTest, DestroyingItEndsWhatRuns) {
  replicas_[0]->mishap = Mishap::kWait;
  auto sink = std::make_shared<Sink>();
  ASSERT_TRUE(backend_->generate(request(), sink));
  sink->wait_for_text();
  backend_.reset();
  sink->wait();
  EXPECT_EQ(sink->error->code(), Code::kCancelled);
}

TEST_F(UnbrokenBackendTest, ABudgetMayForbidRetries) {
  route_.permit = [](AttemptReason) { return false; };
  replicas_[0]->mishap = Mishap::kRefuse;
  const auto sink = run();
  EXPECT_EQ(sink->error->message(), "full");
  replicas_[0]->mishap = Mishap::kCut;
  EXPECT_EQ(run()->text, kWhole) << "an answer under way is no retry";
}

TEST_F(UnbrokenBackendTest, QuestionsWaitForAReplicaAsRequestsDo) {
  completion::TokenizeRequest ask;
  ask.model = "m";
  ask.prompt = completion::TextPrompt{"x", true};
  away_ = 3;
  EXPECT_TRUE(backend_->tokenize(ask));
  away_ = 1;
  EXPECT_TRUE(backend_->models().empty()) << "a list does not wait";
  away_ = 3;
  EXPECT_TRUE(backend_->find_model("m"));
}

TEST_F(UnbrokenBackendTest, ModelsAndTokenizerAreTheReplicas) {
  const auto card = backend_->find_model("m");
  ASSERT_TRUE(card) << card.error().message();
  EXPECT_EQ(card->fingerprint, "fp_1");
  EXPECT_EQ(backend_->models().size(), 1u);
  EXPECT_EQ(backend_->find_model("other").error().code(), Code::kNotFound);
  completion::TokenizeRequest ask;
  ask.model = "m";
  ask.prompt = completion::TextPrompt{"x", true};
  EXPECT_EQ(backend_->tokenize(ask)->tokens, (std::vector<int32_t>{5, 6}));
  EXPECT_EQ(backend_->detokenize("m", {1}).value(), "text");
  EXPECT_TRUE(backend_->ready());
  replicas_.clear();
  EXPECT_TRUE(backend_->find_model("m")) << "it is remembered";
  EXPECT_FALSE(backend_->find_model("unheard of"));
  EXPECT_FALSE(backend_->ready());
}

TEST(ModelCards, KnownOnesAreGivenWhileTheyAreAskedForAgain) {
  ManualClock clock;
  ModelCards cards(clock);
  EXPECT_FALSE(cards.find("m"));
  const auto card = [](std::string root) {
    return completion::ModelCard{"m", std::move(root), 512, 1.0, "fp_1"};
  };
  cards.tell("m", card("one"));
  EXPECT_FALSE(cards.find("m")->refresh);
  clock.advance(6s);
  EXPECT_TRUE(cards.find("m")->refresh);
  EXPECT_FALSE(cards.find("m")->refresh) << "one asks for all";
  cards.not_refreshed("m");
  EXPECT_FALSE(cards.find("m")->refresh) << "not again at once";
  clock.advance(6s);
  EXPECT_TRUE(cards.find("m")->refresh);
  cards.tell("m", card("two"));
  EXPECT_EQ(cards.find("m")->card.root, "two");
  cards.forget("m");
  EXPECT_FALSE(cards.find("m"));
}

TEST(ReplicaIdentity, OddBodiesAreRefused) {
  const std::string good = FakeReplica().identity().body;
  ASSERT_TRUE(parse_identity(good));
  EXPECT_EQ(parse_identity(good)->load.running, 1);
  for (const char* part : {"ready", "models", "load", "fingerprint", "max_model_len", "waiting"}) {
    std::string odd = good;
    odd.replace(odd.find(part), 2, "XX");
    EXPECT_FALSE(parse_identity(odd)) << part;
  }
  for (size_t n = 0; n < good.size(); ++n) EXPECT_FALSE(parse_identity(good.substr(0, n)));
}

}  // namespace
}  // namespace sluice::gateway
