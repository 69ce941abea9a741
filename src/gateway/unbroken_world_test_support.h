// For the tests of this room: one answer of Sluice replicas, in a world whose clock and replicas
// the test turns by hand.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "gateway/unbroken_answer.h"

namespace sluice::gateway::testing {

using api::InternalEvent;
using completion::Delta;
using completion::FinishReason;
using completion::Request;
using namespace std::chrono_literals;

inline constexpr int kLength = 24;  // tokens of a whole choice

// What a replica of the one numerics id says: token and text are functions of choice and position.
inline int32_t token_at(size_t choice, int position) {
  return static_cast<int32_t>(choice) * 1000 + position;
}
inline std::string text_at(int32_t token) { return std::to_string(token) + " "; }

// The events of an answer to `request`, tokens grouped at random as speculation would.
inline std::deque<InternalEvent> answer_to(const Request& request, const std::string& fingerprint,
                                           Rng& rng) {
  std::deque<InternalEvent> events;
  api::StartEvent start{.fingerprint = fingerprint, .max_model_len = 512, .seed = 1, .info = {}};
  if (!request.resume) start.info.tokens.assign(request.prompts.size(), {1, 2, 3});
  events.emplace_back(std::move(start));
  const size_t choices = request.prompts.size() * size_t(request.choices_per_prompt);
  std::vector<int> at(choices);
  std::vector<bool> over(choices);
  for (size_t i = 0; i < choices && request.resume; ++i) {
    over[i] = request.resume->choices[i].ended_after.has_value();
    at[i] = static_cast<int>(request.resume->choices[i].tokens.size());
  }
  if (request.sampling.prompt_logprobs >= 0) {
    for (size_t i = 0; i < request.prompts.size(); ++i) {
      if (request.resume && request.resume->prompt_logprobs_told[i]) continue;
      events.emplace_back(api::PromptLogprobsEvent{static_cast<int>(i), {}});
    }
  }
  while (std::ranges::find(over, false) != over.end()) {
    const auto i = static_cast<size_t>(rng.below(choices));
    if (over[i]) continue;
    Delta delta;
    delta.choice = static_cast<int>(i);
    const int most = kLength - static_cast<int>(i);
    const int end = std::min<int>(most, at[i] + 1 + static_cast<int>(rng.below(3)));
    for (; at[i] < end; ++at[i]) {
      delta.tokens.push_back(token_at(i, at[i]));
      delta.text += text_at(delta.tokens.back());
    }
    if (at[i] == most) {
      delta.finish = FinishReason::kLength;
      over[i] = true;
    }
    events.emplace_back(std::move(delta));
  }
  events.emplace_back(completion::Usage{3, 0, 2});
  return events;
}

class Sink : public completion::ResponseSink {
 public:
  void on_start(completion::PromptInfo info) override {
    EXPECT_EQ(starts++, 0);
    prompts = info.tokens.size();
  }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry>) override {
    EXPECT_EQ(logprobs[prompt]++, 0);
  }
  void on_delta(Delta delta) override {
    EXPECT_EQ(starts, 1);
    EXPECT_EQ(ends, 0) << "something came behind the end";
    texts[delta.choice] += delta.text;
    auto& all = tokens[delta.choice];
    all.insert(all.end(), delta.tokens.begin(), delta.tokens.end());
    EXPECT_FALSE(finished[delta.choice]);
    finished[delta.choice] = delta.finish.has_value();
  }
  void on_done(const completion::Usage& all) override {
    ++ends;
    usage = all;
  }
  void on_error(const Status& status) override {
    ++ends;
    error = status;
  }

  // Whole, and every token once.
  void expect_whole(const Request& request) {
    ASSERT_EQ(ends, 1);
    ASSERT_FALSE(error) << error->message();
    EXPECT_EQ(starts, 1);
    const size_t choices = request.prompts.size() * size_t(request.choices_per_prompt);
    int total = 0;
    for (size_t i = 0; i < choices; ++i) {
      std::string text;
      const int most = kLength - static_cast<int>(i);
      for (int p = 0; p < most; ++p) text += text_at(token_at(i, p));
      EXPECT_EQ(texts[static_cast<int>(i)], text);
      EXPECT_TRUE(finished[static_cast<int>(i)]);
      total += most;
    }
    EXPECT_EQ(usage.completion_tokens, total);
    EXPECT_EQ(usage.prompt_tokens, static_cast<int>(3 * request.prompts.size()));
    const bool asked = request.sampling.prompt_logprobs >= 0;
    EXPECT_EQ(logprobs.size(), asked ? request.prompts.size() : 0);
  }

  int starts = 0;
  int ends = 0;
  size_t prompts = 0;
  std::map<int, std::string> texts;
  std::map<int, std::vector<int32_t>> tokens;
  std::map<int, bool> finished;
  std::map<int, int> logprobs;
  completion::Usage usage;
  std::optional<Status> error;
};

class Observer : public UnbrokenObserver {
 public:
  void on_attempt(AttemptReason reason) override { ++attempts[reason]; }
  void on_loss(Loss loss, bool) override { ++losses[loss]; }
  void on_gap(Duration gap) override { longest_gap = std::max(longest_gap, gap); }
  void on_given_up(bool mid_answer) override { ++(mid_answer ? cut : refused); }

  std::map<AttemptReason, int> attempts;
  std::map<Loss, int> losses;
  Duration longest_gap{};
  int cut = 0;
  int refused = 0;
};

inline Request generation_of(size_t prompts = 1, int n = 1) {
  Request request;
  for (size_t i = 0; i < prompts; ++i) request.prompts.emplace_back(completion::TextPrompt{"x"});
  request.choices_per_prompt = n;
  request.sampling.seed = 7;
  return request;
}

// Drives one answer. `stream` decides what happens to each attempt.
class World {
 public:
  struct Live {
    std::string replica;
    Request request;
    std::deque<InternalEvent> events;
    bool closed = false;
  };

  explicit World(Request request, UnbrokenRules rules = {}, uint64_t seed = 1)
      : rng(seed), asked(std::move(request)), answer(asked, rules, seed, sink, observer, now) {}

  // Opens what is wished, at a replica not excluded; nothing when all are.
  int open() {
    if (!answer.wants(now)) return 0;
    const auto wish = answer.wish();
    for (const auto& [name, fingerprint] : replicas) {
      if (std::ranges::find(wish.excluded, name) != wish.excluded.end()) continue;
      if (!wish.fingerprint.empty() && wish.fingerprint != fingerprint) continue;
      const int number = ++attempts;
      Live& one = live[number];
      one.replica = name;
      one.request = answer.begin(number, name, now);
      one.events = answer_to(one.request, fingerprint, rng);
      close();
      return number;
    }
    answer.not_begun(Status(Code::kUnavailable, "none"), now);
    return 0;
  }
  void close() {
    for (const auto& each : answer.take_closed()) {
      live[each.attempt].closed = true;
      results.push_back(each.result);
    }
  }
  bool deliver(int number) {
    Live& one = live[number];
    if (one.events.empty()) return false;
    answer.heard(number, now);
    answer.on_event(number, std::move(one.events.front()), now);
    one.events.pop_front();
    close();
    return true;
  }
  void lose(int number, Loss loss) {
    answer.on_end(number, loss, Status(Code::kUnavailable, "lost"), now);
    close();
  }
  void pass(Duration time) {
    now += time;
    answer.tick(now);
    close();
  }
  int newest_open() const {
    for (auto at = live.rbegin(); at != live.rend(); ++at) {
      if (!at->second.closed) return at->first;
    }
    return 0;
  }
  void run_to_end() {
    for (int i = 0; i < 10'000 && !answer.over(); ++i) {
      open();
      if (const int number = newest_open(); number == 0 || !deliver(number)) pass(5ms);
    }
  }

  Rng rng;
  TimePoint now{1h};
  Request asked;
  Sink sink;
  Observer observer;
  std::vector<std::pair<std::string, std::string>> replicas = {{"a", "fp"}, {"b", "fp"}};
  UnbrokenAnswer answer;
  std::map<int, Live> live;
  std::vector<UseResult> results;
  int attempts = 0;
};

}  // namespace sluice::gateway::testing
