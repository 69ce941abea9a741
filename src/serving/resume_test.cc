// An answer cut after any number of deltas and resumed equals the undisturbed one: text, tokens,
// logprobs to the bit, finish reason, stop reason, usage.

#include "serving/resume.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <condition_variable>
#include <limits>
#include <mutex>

#include "base/thread_team.h"
#include "serving/local_backend.h"

namespace sluice::serving {
namespace {

using completion::Delta;
using completion::Request;
using completion::Resume;

const char* const kModel = SLUICE_SOURCE_DIR "/models/story.gguf";

struct Answer {
  completion::PromptInfo info;
  std::vector<Delta> deltas;
  std::vector<std::pair<int, std::vector<completion::LogprobEntry>>> prompt_logprobs;
  std::vector<size_t> deltas_before_logprobs;
  completion::Usage usage;
  std::optional<Status> error;
};

class Recorder : public completion::ResponseSink {
 public:
  void on_start(completion::PromptInfo info) override { answer.info = std::move(info); }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override {
    answer.prompt_logprobs.emplace_back(prompt, std::move(entries));
    answer.deltas_before_logprobs.push_back(answer.deltas.size());
  }
  void on_delta(Delta delta) override { answer.deltas.push_back(std::move(delta)); }
  void on_done(const completion::Usage& usage) override {
    answer.usage = usage;
    end();
  }
  void on_error(const Status& status) override {
    answer.error = status;
    end();
  }
  Answer& wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return ended_; });
    return answer;
  }

  Answer answer;

 private:
  void end() {
    {
      const std::lock_guard lock(mutex_);
      ended_ = true;
    }
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool ended_ = false;
};

// A choice as a client sees it, comparable.
std::string print(const completion::TokenLogprob& p) {
  return std::to_string(p.token) + "/" + p.text + "/" +
         std::to_string(std::bit_cast<uint32_t>(p.logprob)) + "/" + std::to_string(p.rank) + " ";
}

std::vector<std::string> print(const std::vector<Delta>& deltas, size_t choices) {
  struct Parts {
    std::string text, tokens, logprobs, end;
  };
  std::vector<Parts> parts(choices);
  for (const Delta& delta : deltas) {
    Parts& p = parts.at(static_cast<size_t>(delta.choice));
    EXPECT_TRUE(p.end.empty()) << "a delta behind the end";
    p.text += delta.text;
    for (const int32_t token : delta.tokens) p.tokens += std::to_string(token) + " ";
    for (const auto& entry : delta.logprobs) {
      p.logprobs += print(entry.chosen);
      for (const auto& top : entry.top) p.logprobs += print(top);
    }
    if (!delta.finish) continue;
    p.end = std::to_string(static_cast<int>(*delta.finish)) + ":";
    if (const auto* stop = std::get_if<std::string>(&delta.stop_reason)) p.end += *stop;
    if (const auto* stop = std::get_if<int32_t>(&delta.stop_reason)) p.end += std::to_string(*stop);
  }
  std::vector<std::string> out;
  for (const Parts& p : parts) {
    out.push_back(p.text + "\n" + p.tokens + "\n" + p.logprobs + "\n" + p.end);
  }
  return out;
}

Request story(int max_tokens) {
  Request request;
  request.prompts.emplace_back(completion::TextPrompt{"Once upon a time, a small dog", true});
  request.sampling.max_tokens = max_tokens;
  request.sampling.temperature = 0;
  request.sampling.seed = 11;
  return request;
}

class ResumeTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ModelSettings settings;
    settings.kv_cache_bytes = 16 << 20;
    const Outcome added = backend_.add_model({kModel, {"story"}}, settings);
    ASSERT_TRUE(added) << added.error().message();
  }

  Answer run(Request request) {
    auto sink = std::make_shared<Recorder>();
    const auto call = backend_.generate(std::move(request), sink);
    if (!call) {
      sink->answer.error = call.error();
      return sink->answer;
    }
    return sink->wait();
  }

  // The request that goes on after the first `cut` deltas of `whole`.
  Request resumed(const Request& request, const Answer& whole, size_t cut) {
    Request next = request;
    next.prompts.clear();
    for (const auto& tokens : whole.info.tokens) {
      next.prompts.emplace_back(completion::TokenPrompt{tokens});
    }
    Resume resume;
    resume.choices.resize(whole.info.tokens.size() * size_t(request.choices_per_prompt));
    resume.prompt_logprobs_told.resize(whole.info.tokens.size());
    const auto card = backend_.find_model("story");
    resume.fingerprint = card->fingerprint;
    resume.max_model_len = card->max_model_len;
    for (size_t i = 0; i < cut; ++i) {
      const Delta& delta = whole.deltas[i];
      auto& choice = resume.choices[size_t(delta.choice)];
      choice.tokens.insert(choice.tokens.end(), delta.tokens.begin(), delta.tokens.end());
      if (!delta.finish) continue;
      choice.ended_after = static_cast<int>(choice.tokens.size());
      choice.tokens.clear();
    }
    for (size_t i = 0; i < whole.prompt_logprobs.size(); ++i) {
      const auto prompt = size_t(whole.prompt_logprobs[i].first);
      resume.prompt_logprobs_told[prompt] = whole.deltas_before_logprobs[i] <= cut && cut > 0;
    }
    next.resume = std::move(resume);
    return next;
  }

  void expect_unbroken(const Request& request) {
    const Answer whole = run(request);
    ASSERT_FALSE(whole.error) << whole.error->message();
    const size_t choices = request.prompts.size() * size_t(request.choices_per_prompt);
    const auto expected = print(whole.deltas, choices);
    ASSERT_GT(whole.deltas.size(), choices);
    size_t open = choices;
    for (size_t cut = 0; cut < whole.deltas.size(); ++cut) {
      if (cut > 0 && whole.deltas[cut - 1].finish) --open;
      if (open == 0) break;
      const Answer rest = run(resumed(request, whole, cut));
      ASSERT_FALSE(rest.error) << rest.error->message();
      std::vector<Delta> all(whole.deltas.begin(), whole.deltas.begin() + ptrdiff_t(cut));
      all.insert(all.end(), rest.deltas.begin(), rest.deltas.end());
      ASSERT_EQ(print(all, choices), expected) << "cut after " << cut;
      EXPECT_EQ(rest.usage.prompt_tokens, whole.usage.prompt_tokens);
      EXPECT_EQ(rest.usage.completion_tokens, whole.usage.completion_tokens);
      EXPECT_LE(rest.usage.cached_tokens, rest.usage.prompt_tokens);
      const auto told = size_t(std::ranges::count_if(
          whole.deltas_before_logprobs, [&](size_t before) { return cut > 0 && before <= cut; }));
      EXPECT_EQ(rest.prompt_logprobs.size() + told, whole.prompt_logprobs.size()) << cut;
    }
  }

  ThreadTeam team_{2};
  telemetry::Metrics metrics_;
  LocalBackend backend_{team_, metrics_};
};

TEST_F(ResumeTest, Greedy) { expect_unbroken(story(40)); }

TEST_F(ResumeTest, SampledWithEveryRule) {
  Request request = story(40);
  request.sampling.temperature = 1.1;
  request.sampling.top_p = 0.95;
  request.sampling.min_p = 0.01;
  request.sampling.repetition_penalty = 1.2;
  request.sampling.presence_penalty = 0.4;
  request.sampling.frequency_penalty = 0.3;
  request.sampling.logit_bias = {{300, 1.5f}};
  request.sampling.bad_words = {"the dog", "little"};
  request.sampling.min_tokens = 25;
  request.sampling.logprobs = 3;
  expect_unbroken(request);
}

TEST_F(ResumeTest, TwoPromptsWithTwoChoicesAndPromptLogprobs) {
  Request request = story(12);
  request.prompts.emplace_back(completion::TextPrompt{"Lily and Tom", true});
  request.choices_per_prompt = 2;
  request.sampling.temperature = 0.9;
  request.sampling.logprobs = 0;
  request.sampling.prompt_logprobs = 2;
  request.choices_per_prompt = 1;  // with more, choices run ahead of the logprobs
  expect_unbroken(request);
}

TEST_F(ResumeTest, ChoicesThatEndAtDifferentPlaces) {
  Request request = story(30);
  request.choices_per_prompt = 3;
  request.sampling.temperature = 1.0;
  request.sampling.stop = {".", "!"};
  expect_unbroken(request);
}

TEST_F(ResumeTest, StopStringsAcrossTheCut) {
  const Answer whole = run(story(60));
  std::string text;
  for (const Delta& delta : whole.deltas) text += delta.text;
  Request request = story(60);
  request.sampling.stop = {text.substr(text.size() / 2, 9), "no such text"};
  request.sampling.include_stop_text = true;
  expect_unbroken(request);
}

TEST_F(ResumeTest, ChatUpToItsEndToken) {
  Request request = story(200);
  completion::ChatPrompt chat;
  chat.messages.push_back({.role = "user",
                           .content = "Tell me a story.",
                           .name = {},
                           .tool_call_id = {},
                           .tool_calls = {}});
  request.prompts = {chat};
  request.sampling.max_tokens.reset();
  expect_unbroken(request);
}

TEST_F(ResumeTest, PromptLogprobsOfALongPromptAreWhole) {
  Request request = story(2);
  std::vector<int32_t> tokens;
  for (int i = 0; i < 700; ++i) tokens.push_back(300 + i % 50);
  request.prompts = {completion::TokenPrompt{tokens}};
  request.sampling.prompt_logprobs = 0;
  const Answer answer = run(request);
  ASSERT_EQ(answer.prompt_logprobs.size(), 1u);
  EXPECT_EQ(answer.prompt_logprobs[0].second.size(), 699u);
}

TEST_F(ResumeTest, RefusesWhatDoesNotFit) {
  const Request request = story(20);
  const Answer whole = run(request);
  const Request good = resumed(request, whole, 5);
  const auto code_of = [&](auto change) {
    Request changed = good;
    change(changed);
    const Answer answer = run(changed);
    return answer.error ? std::optional(answer.error->code()) : std::nullopt;
  };
  EXPECT_FALSE(code_of([](Request&) {}));
  const auto expect_bad = [&](auto change) { EXPECT_EQ(code_of(change), Code::kInvalidArgument); };
  expect_bad([](Request& r) { r.sampling.seed.reset(); });
  expect_bad([](Request& r) { r.echo = true; });
  expect_bad([](Request& r) { r.prompts = {completion::TextPrompt{"x"}}; });
  expect_bad([](Request& r) { r.resume->choices.emplace_back(); });
  expect_bad([](Request& r) { r.resume->prompt_logprobs_told.clear(); });
  expect_bad([](Request& r) { r.resume->choices[0].tokens.push_back(-1); });
  expect_bad([](Request& r) { r.resume->choices[0].tokens.push_back(1 << 30); });
  expect_bad([](Request& r) { r.resume->choices[0].tokens.assign(21, 300); });
  expect_bad([](Request& r) { r.resume->choices[0].ended_after = 3; });
  expect_bad([](Request& r) {
    r.resume->choices[0].tokens.clear();
    r.resume->choices[0].ended_after = 3;
  });
  expect_bad([&](Request& r) {
    std::string text;
    for (size_t i = 0; i < 4; ++i) text += whole.deltas[i].text;
    r.sampling.stop = {text.substr(text.size() - 3)};
  });
  // Of two choices one has ended, after more tokens than the request or its context allow.
  Request two = story(20);
  two.sampling.temperature = 0.9;
  two.choices_per_prompt = 2;
  Request one_left = resumed(two, run(two), 0);
  one_left.resume->choices[0] = {.ended_after = 20};
  EXPECT_FALSE(run(one_left).error);
  EXPECT_GE(run(one_left).usage.completion_tokens, 20);
  for (const int after : {-1, 21, std::numeric_limits<int>::max()}) {
    one_left.resume->choices[0] = {.ended_after = after};
    EXPECT_EQ(run(one_left).error->code(), Code::kInvalidArgument) << after;
  }
  one_left.sampling.max_tokens.reset();
  EXPECT_EQ(run(one_left).error->code(), Code::kInvalidArgument);
  const auto expect_mismatch = [&](auto change) {
    EXPECT_EQ(code_of(change), Code::kFailedPrecondition);
  };
  expect_mismatch([](Request& r) { r.resume->fingerprint = "fp_0"; });
  expect_mismatch([](Request& r) { r.resume->max_model_len = 1 << 20; });
  expect_mismatch([](Request& r) { r.resume->max_model_len = 0; });
  EXPECT_FALSE(code_of([](Request& r) {
    r.resume->fingerprint.clear();
    r.resume->max_model_len = 0;
  }));
}

}  // namespace
}  // namespace sluice::serving
