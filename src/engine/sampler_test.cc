#include "engine/sampler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "base/rng.h"

namespace sluice::engine {
namespace {

Sequence sequence_with(const SamplingParams& sampling) {
  Request request;
  request.prompt = {0};
  request.sampling = sampling;
  request.sampling.max_tokens = 1 << 20;
  return make_sequence(std::move(request), 1 << 20, {});
}

// The logits of these probabilities.
std::vector<float> logits_of(const std::vector<double>& probabilities) {
  std::vector<float> row;
  for (const double p : probabilities) row.push_back(static_cast<float>(std::log(p)) + 5.0f);
  return row;
}

// How often each token is drawn in `draws` outputs.
std::map<int32_t, int> draw(const SamplingParams& sampling, const std::vector<float>& row,
                            int draws) {
  Sampler sampler({});
  Sequence sequence = sequence_with(sampling);
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) {
    const auto token = sampler.sample(sequence, row);
    EXPECT_TRUE(token);
    ++counts[token->token];
    append_token(sequence, token->token);
  }
  return counts;
}

std::set<int32_t> support(const SamplingParams& sampling, const std::vector<double>& p) {
  std::set<int32_t> tokens;
  for (const auto& [token, count] : draw(sampling, logits_of(p), 1000)) tokens.insert(token);
  return tokens;
}

using Tokens = std::set<int32_t>;
const std::vector<double> kFive = {0.1, 0.4, 0.05, 0.25, 0.2};

TEST(Sampler, GreedyTakesTheLowestOfTheGreatest) {
  Sampler sampler({});
  const Sequence sequence = sequence_with({.temperature = 0.0});
  EXPECT_EQ(sampler.sample(sequence, std::vector<float>{1, 3, 2, 3})->token, 1);
}

TEST(Sampler, DrawsFollowTheProbabilities) {
  constexpr int kDraws = 30'000;
  // Through each of the ways to draw: all tokens, and candidates in several orders.
  for (const SamplingParams& sampling :
       {SamplingParams{.seed = 5}, SamplingParams{.top_k = 4, .seed = 5},
        SamplingParams{.min_p = 0.001, .seed = 5}, SamplingParams{.top_p = 0.9999, .seed = 5}}) {
    auto counts = draw(sampling, logits_of(kFive), kDraws);
    double mass = 0.0;
    for (const auto& [token, count] : counts) mass += kFive[size_t(token)];
    for (const auto& [token, count] : counts) {
      const double p = kFive[size_t(token)] / mass;
      // Five standard deviations.
      EXPECT_NEAR(count, p * kDraws, 5 * std::sqrt(p * (1 - p) * kDraws)) << token;
    }
  }
}

TEST(Sampler, TemperatureSharpens) {
  const auto counts = draw({.temperature = 0.5}, logits_of({0.2, 0.8}), 20'000);
  const double p = 0.64 / 0.68;
  EXPECT_NEAR(counts.at(1), p * 20'000, 5 * std::sqrt(p * (1 - p) * 20'000));
  EXPECT_EQ(draw({.temperature = 1e-4}, logits_of({0.5, 0.49}), 100).size(), 2u)
      << "below 0.01 counts as 0.01: 0.02 apart in logits is then a factor of 8";
}

TEST(Sampler, TruncationsKeepWhatTheySay) {
  EXPECT_EQ(support({.top_k = 2}, kFive), (Tokens{1, 3}));
  EXPECT_EQ(support({.top_k = 99}, kFive), (Tokens{0, 1, 2, 3, 4}));
  EXPECT_EQ(support({.top_p = 0.5}, kFive), (Tokens{1, 3}));
  EXPECT_EQ(support({.top_p = 0.7}, kFive), (Tokens{1, 3, 4}));
  EXPECT_EQ(support({.top_p = 0.0}, kFive), (Tokens{1}));
  EXPECT_EQ(support({.min_p = 0.45}, kFive), (Tokens{1, 3, 4}));
  // top_p is over what top_k left: 0.4 and 0.25 become 0.62 and 0.38.
  EXPECT_EQ(support({.top_k = 2, .top_p = 0.6}, kFive), (Tokens{1}));
  EXPECT_EQ(support({.top_p = 0.6, .min_p = 0.6}, kFive), (Tokens{1}));
  EXPECT_EQ(support({.top_k = 2, .min_p = 0.9}, kFive), (Tokens{1}));
}

TEST(Sampler, TiesGoToTheLowerId) {
  EXPECT_EQ(support({.top_k = 2}, {0.25, 0.25, 0.25, 0.25}), (Tokens{0, 1}));
  EXPECT_EQ(support({.top_p = 0.5}, {0.25, 0.25, 0.25, 0.25}), (Tokens{0, 1}));
}

TEST(Sampler, TypicalKeepsTheLeastSurprising) {
  // The entropy is 1.21 nats; the surprises are 0.51, 2.30, 2.53, 2.66 and 1.90.
  const std::vector<double> p = {0.6, 0.1, 0.08, 0.07, 0.15};
  EXPECT_EQ(support({.typical_p = 0.1}, p), (Tokens{4}));
  EXPECT_EQ(support({.typical_p = 0.7}, p), (Tokens{0, 4}));
  EXPECT_EQ(support({.typical_p = 0.8}, p), (Tokens{0, 1, 4}));
  // One dominant token may be atypical where the rest is flat.
  std::vector<double> flat(81, 0.01);
  flat[0] = 0.2;
  EXPECT_FALSE(support({.typical_p = 0.3}, flat).contains(0));
}

// Every way to select candidates must agree with the plain definition.
TEST(Sampler, TopPMatchesItsDefinitionOnWideRows) {
  Rng rng(9);
  for (int round = 0; round < 15; ++round) {
    std::vector<float> row(3000);
    const double width = 0.2 + 4 * rng.uniform();
    for (float& x : row) x = static_cast<float>(rng.uniform() * width);
    std::vector<size_t> order(row.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    std::ranges::sort(order, [&](size_t a, size_t b) { return row[a] > row[b]; });
    double total = 0.0;
    for (const float x : row) total += std::exp(static_cast<double>(x));
    const double top_p = rng.uniform();
    double reached = 0.0;
    size_t kept = 0;
    while (kept == 0 || reached < top_p * total) {
      reached += std::exp(static_cast<double>(row[order[kept++]]));
    }
    std::vector<size_t> position(row.size());
    for (size_t i = 0; i < order.size(); ++i) position[order[i]] = i;
    for (const auto& [token, count] : draw({.top_p = top_p, .seed = rng.next()}, row, 100)) {
      EXPECT_LE(position[size_t(token)], kept) << "top_p " << top_p;
    }
  }
}

TEST(Sampler, ATokenDependsOnSeedAndPositionOnly) {
  const std::vector<float> row(50, 1.0f);
  Sampler sampler({});
  Sequence a = sequence_with({.seed = 42});
  std::vector<int32_t> tokens;
  for (int i = 0; i < 20; ++i) {
    tokens.push_back(sampler.sample(a, row)->token);
    append_token(a, tokens.back());
  }
  EXPECT_GT(std::set<int32_t>(tokens.begin(), tokens.end()).size(), 8u);
  Sequence b = sequence_with({.seed = 42});
  Sampler fresh({});
  for (const int32_t token : tokens) {
    draw({.seed = 1}, {1, 2, 3}, 3);
    EXPECT_EQ(fresh.sample(b, row)->token, token);
    append_token(b, token);
  }
}

TEST(Sampler, LogprobsAreOfTheRawDistribution) {
  Sampler sampler({});
  const Sequence sequence =
      sequence_with({.temperature = 0.0, .logit_bias = {{2, 100.0f}}, .logprobs = 2});
  const auto output = sampler.sample(sequence, logits_of(kFive));
  ASSERT_TRUE(output);
  EXPECT_EQ(output->token, 2);
  EXPECT_NEAR(output->logprob->logprob, std::log(0.05), 1e-5);
  EXPECT_EQ(output->logprob->rank, 5);
  ASSERT_EQ(output->top.size(), 2u);
  EXPECT_EQ(output->top[0].token, 1);
  EXPECT_NEAR(output->top[0].logprob, std::log(0.4), 1e-5);
  EXPECT_EQ(output->top[0].rank, 1);
  EXPECT_EQ(output->top[1].token, 3);
  EXPECT_EQ(output->top[1].rank, 2);
}

TEST(Sampler, LogprobsOnlyWhereAskedFor) {
  Sampler sampler({});
  EXPECT_FALSE(sampler.sample(sequence_with({}), logits_of(kFive))->logprob);
  const auto chosen = sampler.sample(sequence_with({.logprobs = 0}), logits_of(kFive));
  EXPECT_TRUE(chosen->logprob);
  EXPECT_TRUE(chosen->top.empty());
}

TEST(Sampler, LogitsThatAreNotFiniteAreAnError) {
  Sampler sampler({});
  for (const float bad : {std::nanf(""), std::numeric_limits<float>::infinity()}) {
    for (const double temperature : {0.0, 1.0}) {
      const auto result =
          sampler.sample(sequence_with({.temperature = temperature}), std::vector<float>{1, bad});
      ASSERT_FALSE(result);
      EXPECT_EQ(result.error().code(), Code::kInternal);
      EXPECT_EQ(result.error().reason(), "logits_not_finite");
    }
  }
}

TEST(Sampler, RulesThatLeaveNothingAreAnError) {
  Sampler sampler({});
  for (const double temperature : {0.0, 1.0}) {
    const auto result = sampler.sample(
        sequence_with({.temperature = temperature, .bad_words = {{1}}, .allowed_tokens = {1}}),
        std::vector<float>{1, 2, 3});
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().reason(), "no_token_allowed");
  }
}

TEST(Sampler, AMaskedTokenIsNeverDrawn) {
  EXPECT_EQ(support({.bad_words = {{1}, {3}}}, kFive), (Tokens{0, 2, 4}));
  EXPECT_EQ(support({.top_k = 3, .allowed_tokens = {2, 4}}, kFive), (Tokens{2, 4}));
  EXPECT_EQ(support({.typical_p = 0.99, .allowed_tokens = {2}}, kFive), (Tokens{2}));
}

}  // namespace
}  // namespace sluice::engine
