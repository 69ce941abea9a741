// Models on demand: loaded when they are asked for, least recently used out first, nothing that
// runs disturbed.
#include <gtest/gtest.h>

#include <condition_variable>
#include <cstdlib>
#include <filesystem>
#include <latch>
#include <mutex>
#include <span>
#include <thread>
#include <vector>

#include "base/files.h"
#include "base/thread_team.h"
#include "formats/gguf_file.h"
#include "formats/gguf_writer.h"
#include "kernels/dequant.h"
#include "serving/local_backend.h"
#include "serving/on_demand_backend.h"

namespace sluice::serving {
namespace {

using completion::Request;
using completion::ResponseSink;

const char* const kModel = SLUICE_SOURCE_DIR "/models/story.gguf";
constexpr int64_t kCacheBytes = 4 << 20;

class Answer : public ResponseSink {
 public:
  void on_start(completion::PromptInfo info) override { fingerprint = info.fingerprint; }
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    text += delta.text;
    const std::lock_guard lock(mutex_);
    started_ = true;
    changed_.notify_all();
  }
  void on_done(const completion::Usage&) override { end({}); }
  void on_error(const Status& status) override { end(status); }

  void wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
  }
  void wait_for_text() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return started_ || ended_; });
  }
  bool ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

  std::string fingerprint;
  std::string text;
  std::optional<Status> error;

 private:
  void end(std::optional<Status> status) {
    const std::lock_guard lock(mutex_);
    EXPECT_FALSE(ended_) << "the end was told twice";
    error = std::move(status);
    ended_ = true;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool started_ = false;
  bool ended_ = false;
};

Request request_of(const std::string& model, int max_tokens) {
  Request request;
  request.model = model;
  request.prompts.emplace_back(completion::TextPrompt{"Once upon a time", true});
  request.sampling.max_tokens = max_tokens;
  request.sampling.ignore_eos = true;
  request.sampling.temperature = 0;
  return request;
}

ModelSettings settings_of() {
  ModelSettings settings;
  settings.kv_cache_bytes = kCacheBytes;
  return settings;
}

int64_t bytes_of_one() {
  const auto plan = LoadedModel::plan_memory({kModel, {"m"}}, settings_of());
  EXPECT_TRUE(plan) << plan.error().message();
  return plan ? plan->weights + plan->kv.bytes : 0;
}

// The same model with its larger matrices as 32-bit floats.
void write_larger(const std::filesystem::path& path) {
  const auto bytes = read_file(kModel, 16u << 20);
  ASSERT_TRUE(bytes);
  const auto file = formats::parse_gguf(std::as_bytes(std::span(*bytes)));
  ASSERT_TRUE(file) << file.error().message();
  const auto grows = [](const formats::GgufTensor& each) { return each.name.contains("ffn_"); };
  formats::GgufWriter writer;
  for (const formats::GgufEntry& entry : file->entries) writer.add(entry);
  for (const formats::GgufTensor& each : file->tensors) {
    writer.add_tensor(each.name, grows(each) ? tensor::DType::kF32 : each.dtype, each.shape);
  }
  ASSERT_TRUE(writer.open(path, formats::Existing::kReplace));
  for (const formats::GgufTensor& each : file->tensors) {
    if (!grows(each)) {
      ASSERT_TRUE(writer.append(each.bytes));
      continue;
    }
    int64_t count = 1;
    for (const int64_t side : each.shape) count *= side;
    std::vector<float> floats(static_cast<size_t>(count));
    kernels::dequantize(each.dtype, each.bytes.data(), count, floats.data());
    ASSERT_TRUE(writer.append(std::as_bytes(std::span(floats))));
  }
  ASSERT_TRUE(writer.commit());
}

class TempFolder {
 public:
  TempFolder() {
    std::string name =
        (std::filesystem::temp_directory_path() / "sluice_on_demand_XXXXXX").string();
    path_ = ::mkdtemp(name.data());
  }
  ~TempFolder() { std::filesystem::remove_all(path_); }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

// As a person replaces a file that may be in use.
void put_story(const std::filesystem::path& path) {
  const std::filesystem::path part = path.string() + ".part";
  std::filesystem::copy_file(kModel, part);
  std::filesystem::rename(part, path);
}

class OnDemandTest : public ::testing::Test {
 protected:
  // Room for `places` of the models a, b, c, which are the same file.
  void start(int places, Duration patience = std::chrono::minutes(2), size_t max_waiting = 8) {
    backend_ = std::make_unique<OnDemandBackend>(
        OnDemandOptions{.memory_bytes = places * bytes_of_one() + 4096,
                        .load_patience = patience,
                        .max_waiting = max_waiting},
        team_, metrics_);
    for (const char* name : {"a", "b", "c"}) add(kModel, name);
  }
  void add(const std::filesystem::path& path, const std::string& name) {
    const Outcome added = backend_->add_model({path, {name}}, settings_of());
    ASSERT_TRUE(added) << added.error().message();
  }
  std::shared_ptr<Answer> ask(const std::string& model, int max_tokens = 4) {
    auto answer = std::make_shared<Answer>();
    auto call = backend_->generate(request_of(model, max_tokens), answer);
    EXPECT_TRUE(call) << call.error().message();
    if (call) call_ = *call;
    return answer;
  }
  std::string answer_of(const std::string& model) {
    const auto answer = ask(model);
    answer->wait();
    EXPECT_FALSE(answer->error) << answer->error->message();
    while (!backend_->idle()) std::this_thread::yield();
    return answer->text;
  }
  std::string loaded() {
    std::string names;
    for (const auto& card : backend_->models()) names += card.loaded ? card.id : "";
    return names;
  }
  Outcome change(const std::string& model, bool load) {
    std::latch done(1);
    Outcome told;
    backend_->change_model(model, load, [&](const Outcome& outcome) {
      told = outcome;
      done.count_down();
    });
    done.wait();
    while (!backend_->idle()) std::this_thread::yield();
    return told;
  }
  double count(const std::string& line) {
    const std::string page = metrics_.render(true, false);
    const size_t at = page.find("\n" + line + " ");
    if (at == std::string::npos) return 0;
    return std::stod(page.substr(at + line.size() + 2));
  }

  ThreadTeam team_{2};
  telemetry::Metrics metrics_;
  std::unique_ptr<OnDemandBackend> backend_;
  std::shared_ptr<completion::Call> call_;
};

TEST_F(OnDemandTest, LoadsWhatIsAskedForAndLetsTheOldestGo) {
  start(2);
  EXPECT_EQ(loaded(), "");
  EXPECT_TRUE(backend_->ready());
  EXPECT_GT(backend_->find_model("b")->max_model_len, 0) << "known before it is loaded";
  const std::string text = answer_of("a");
  EXPECT_EQ(answer_of("b"), text);
  EXPECT_EQ(loaded(), "ab");
  EXPECT_EQ(answer_of("a"), text);  // now b is the one that was used longest ago
  EXPECT_EQ(answer_of("c"), text);
  EXPECT_EQ(loaded(), "ac");
  EXPECT_EQ(answer_of("b"), text);
  EXPECT_EQ(loaded(), "bc");
  EXPECT_EQ(count(R"(sluice_model_loads_total{model="b",result="ok"})"), 2);
  EXPECT_EQ(count(R"(sluice_model_unloads_total{model="a",reason="evicted"})"), 1);
  EXPECT_EQ(count("sluice_models_loaded"), 2);
  EXPECT_EQ(count("sluice_model_memory_bytes"), static_cast<double>(2 * bytes_of_one()));
  EXPECT_EQ(count(R"(sluice_generation_tokens_total{model="b"})"), 8)
      << "a model's counts outlive its time in memory";
}

TEST_F(OnDemandTest, TheSameAsLoadedAtTheStart) {
  start(1);
  LocalBackend local(team_, metrics_);
  ASSERT_TRUE(local.add_model({kModel, {"a"}}, settings_of()));
  const auto before = backend_->find_model("a");
  EXPECT_EQ(before->fingerprint, "");
  const auto answer = ask("a", 16);
  answer->wait();
  auto wanted = std::make_shared<Answer>();
  ASSERT_TRUE(local.generate(request_of("a", 16), wanted));
  wanted->wait();
  EXPECT_EQ(answer->text, wanted->text);
  EXPECT_EQ(answer->fingerprint, local.find_model("a")->fingerprint);
  EXPECT_EQ(backend_->find_model("a")->fingerprint, answer->fingerprint);
  EXPECT_EQ(backend_->find_model("a")->max_model_len, local.find_model("a")->max_model_len);
}

TEST_F(OnDemandTest, ManyWhoWantOneModelWaitForOneLoad) {
  start(1, std::chrono::minutes(2), 64);
  std::vector<std::shared_ptr<Answer>> answers;
  answers.reserve(32);
  for (int i = 0; i < 32; ++i) answers.push_back(ask("a"));
  for (const auto& answer : answers) {
    answer->wait();
    EXPECT_FALSE(answer->error);
    EXPECT_EQ(answer->text, answers.front()->text);
  }
  EXPECT_EQ(count(R"(sluice_model_loads_total{model="a",result="ok"})"), 1);
}

// The only place is taken by a model that runs: the other waits until it has ended.
TEST_F(OnDemandTest, WhatRunsIsNotUnloaded) {
  start(1);
  const auto running = ask("a", 900);
  running->wait_for_text();
  const auto waiting = ask("b");
  EXPECT_EQ(backend_->load().waiting, 1);
  EXPECT_GT(backend_->steps("b"), 0u) << "whoever looks sees that it is not stuck";
  waiting->wait();
  EXPECT_TRUE(running->ended());
  EXPECT_FALSE(running->error);
  EXPECT_FALSE(waiting->error);
  EXPECT_EQ(loaded(), "b");
}

TEST_F(OnDemandTest, WaitingForRoomEndsInTime) {
  start(1, std::chrono::milliseconds(5));
  // Its own load is patient enough: the clock of the wait is what is left of it.
  std::shared_ptr<Answer> running;
  do {
    running = ask("a", 900);
    running->wait_for_text();
  } while (running->error);
  const auto waiting = ask("b");
  waiting->wait();
  ASSERT_TRUE(waiting->error);
  EXPECT_EQ(waiting->error->code(), Code::kUnavailable);
  EXPECT_EQ(waiting->error->reason(), "no_model_memory");
  running->wait();
  EXPECT_FALSE(running->error);
}

TEST_F(OnDemandTest, ACancelledWaitIsTold) {
  start(1);
  const auto running = ask("a", 900);
  running->wait_for_text();
  const auto waiting = ask("b");
  call_->cancel();
  waiting->wait();
  ASSERT_TRUE(waiting->error);
  EXPECT_EQ(waiting->error->code(), Code::kCancelled);
  running->wait();
  while (!backend_->idle()) std::this_thread::yield();
  EXPECT_EQ(loaded(), "a") << "nobody wanted b any more";
  call_->cancel();  // of what has ended
}

TEST_F(OnDemandTest, MoreThanMayWaitAreRefused) {
  start(1, std::chrono::minutes(2), 2);
  const auto running = ask("a", 900);
  running->wait_for_text();
  const auto first = ask("b");
  const auto second = ask("b");
  const auto third = backend_->generate(request_of("b", 4), std::make_shared<Answer>());
  ASSERT_FALSE(third);
  EXPECT_EQ(third.error().reason(), "queue_full_requests");
  first->wait();
  second->wait();
  EXPECT_FALSE(first->error || second->error);
}

TEST_F(OnDemandTest, WhatCannotBeLoadedTakesNothingFromTheOthers) {
  start(1);
  const auto folder = std::filesystem::temp_directory_path() / "sluice_on_demand_test";
  std::filesystem::create_directories(folder);
  ASSERT_TRUE(write_file_atomically(folder / "broken.gguf", "no model"));
  std::filesystem::copy_file(kModel, folder / "gone.gguf",
                             std::filesystem::copy_options::overwrite_existing);
  add(folder / "broken.gguf", "broken");
  add(folder / "gone.gguf", "gone");
  std::filesystem::remove_all(folder);
  answer_of("a");
  for (int i = 0; i < 2; ++i) {
    const auto refused = backend_->generate(request_of("broken", 4), std::make_shared<Answer>());
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().reason(), "model_load_failed");
    EXPECT_EQ(loaded(), "a");
  }
  const auto gone = ask("gone");
  gone->wait();
  ASSERT_TRUE(gone->error);
  EXPECT_EQ(gone->error->reason(), "model_load_failed");
  EXPECT_EQ(loaded(), "a") << "nothing makes room for what cannot be loaded";
  const auto again = backend_->generate(request_of("gone", 4), std::make_shared<Answer>());
  ASSERT_FALSE(again) << "it is not tried for each request";
  EXPECT_EQ(count(R"(sluice_model_loads_total{model="gone",result="failed"})"), 1);
  EXPECT_FALSE(answer_of("a").empty());
}

TEST_F(OnDemandTest, OneThatIsTooLargeIsRefusedByName) {
  backend_ = std::make_unique<OnDemandBackend>(OnDemandOptions{.memory_bytes = bytes_of_one() - 1},
                                               team_, metrics_);
  add(kModel, "a");
  const auto refused = backend_->generate(request_of("a", 4), std::make_shared<Answer>());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), "model_too_large");
  EXPECT_NE(refused.error().message().find("--model-memory-bytes"), std::string::npos);
  const auto unknown = backend_->generate(request_of("x", 4), std::make_shared<Answer>());
  EXPECT_EQ(unknown.error().reason(), "model_not_found");
}

TEST_F(OnDemandTest, AFileThatWasReplacedCountsAsWhatItIsNow) {
  const TempFolder folder;
  const auto path = folder.path() / "r.gguf";
  put_story(path);
  start(2);
  add(path, "r");
  ASSERT_TRUE(change("a", true));
  ASSERT_TRUE(change("r", true));
  EXPECT_EQ(loaded(), "ar");
  ASSERT_TRUE(change("r", false));
  write_larger(path);
  const auto plan = LoadedModel::plan_memory({path, {"r"}}, settings_of());
  ASSERT_TRUE(plan);
  const int64_t larger = plan->weights + plan->kv.bytes;
  ASSERT_GT(larger, bytes_of_one() + 4096);
  ASSERT_LE(larger, 2 * bytes_of_one());
  ASSERT_TRUE(change("r", true));
  EXPECT_EQ(loaded(), "r") << "both have no room beside each other any more";
  EXPECT_EQ(count("sluice_model_memory_bytes"), static_cast<double>(larger));
  ASSERT_TRUE(change("r", false));
  EXPECT_EQ(count("sluice_model_memory_bytes"), 0);
}

TEST_F(OnDemandTest, WhatCouldNotBeLoadedIsLookedAtAgain) {
  const TempFolder folder;
  ManualClock clock;
  const auto broken = folder.path() / "broken.gguf";
  const auto large = folder.path() / "large.gguf";
  ASSERT_TRUE(write_file_atomically(broken, "no model"));
  write_larger(large);
  backend_ = std::make_unique<OnDemandBackend>(
      OnDemandOptions{.memory_bytes = bytes_of_one() + 4096}, team_, metrics_, clock);
  add(broken, "broken");
  add(large, "large");
  EXPECT_EQ(change("broken", true).error().reason(), "model_load_failed");
  EXPECT_EQ(change("large", true).error().reason(), "model_too_large");
  put_story(broken);
  put_story(large);
  EXPECT_EQ(change("large", true).error().reason(), "model_too_large") << "not for each request";
  clock.advance(std::chrono::seconds(6));
  for (const char* name : {"broken", "large"}) {
    EXPECT_TRUE(change(name, true)) << name;
    EXPECT_EQ(loaded(), name);
  }
  write_larger(large);
  ASSERT_TRUE(change("large", false));
  EXPECT_EQ(change("large", true).error().reason(), "model_too_large");
  EXPECT_EQ(loaded(), "");
  backend_.reset();  // before its clock
}

TEST_F(OnDemandTest, TokenizingNeedsNoWeights) {
  start(1);
  completion::TokenizeRequest request{.model = "b", .prompt = completion::TextPrompt{"Once", true}};
  const auto cold = backend_->tokenize(request);
  ASSERT_TRUE(cold) << cold.error().message();
  EXPECT_EQ(loaded(), "");
  answer_of("b");
  const auto warm = backend_->tokenize(request);
  EXPECT_EQ(cold->tokens, warm->tokens);
  EXPECT_EQ(cold->max_model_len, warm->max_model_len);
  EXPECT_EQ(*backend_->detokenize("c", cold->tokens), *backend_->detokenize("b", cold->tokens));
}

TEST_F(OnDemandTest, AnAdministratorLoadsAndUnloads) {
  start(2);
  EXPECT_TRUE(change("b", true));
  EXPECT_EQ(loaded(), "b");
  EXPECT_TRUE(change("b", true)) << "loading what is loaded is no work";
  EXPECT_TRUE(change("b", false));
  EXPECT_EQ(loaded(), "");
  EXPECT_TRUE(change("b", false));
  EXPECT_EQ(change("x", true).error().reason(), "model_not_found");
  const auto running = ask("a", 900);
  running->wait_for_text();
  std::latch done(1);
  backend_->change_model("a", false, [&](const Outcome& outcome) {
    EXPECT_EQ(outcome.error().reason(), "model_in_use");
    done.count_down();
  });
  done.wait();
  running->wait();
  EXPECT_EQ(count(R"(sluice_model_unloads_total{model="b",reason="asked"})"), 1);
}

TEST_F(OnDemandTest, DrainingEndsTheWaits) {
  start(1);
  const auto running = ask("a", 900);
  running->wait_for_text();
  const auto waiting = ask("b");
  backend_->drain();
  waiting->wait();
  ASSERT_TRUE(waiting->error);
  EXPECT_EQ(waiting->error->reason(), "draining");
  EXPECT_FALSE(backend_->ready());
  running->wait();
  EXPECT_FALSE(running->error);
  const auto late = backend_->generate(request_of("c", 4), std::make_shared<Answer>());
  EXPECT_EQ(late.error().reason(), "draining");
}

}  // namespace
}  // namespace sluice::serving
