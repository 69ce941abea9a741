#include "engine/logit_rules.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace sluice::engine {
namespace {

// A sequence with the prompt {0, 1} and this output.
Sequence sequence_with(SamplingParams sampling, const std::vector<int32_t>& output) {
  Request request;
  request.prompt = {0, 1};
  request.sampling = std::move(sampling);
  request.sampling.max_tokens = 100;
  Sequence sequence = make_sequence(std::move(request), 100, {});
  for (const int32_t token : output) append_token(sequence, token);
  return sequence;
}

std::vector<float> apply(const SamplingParams& sampling, const std::vector<int32_t>& output,
                         const std::vector<float>& logits = {1, 2, 3, 4, -5, 6}) {
  constexpr int32_t kEnd[] = {5};
  const Sequence sequence = sequence_with(sampling, output);
  std::vector<float> row(logits.size(), 99);
  apply_rules(sequence, kEnd, logits, row);
  return row;
}

std::vector<int32_t> masked(const std::vector<float>& row) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < row.size(); ++i) {
    if (std::isinf(row[i])) tokens.push_back(static_cast<int32_t>(i));
  }
  return tokens;
}

using Tokens = std::vector<int32_t>;

TEST(LogitRules, NothingAskedNothingChanged) {
  EXPECT_FALSE(has_rules(sequence_with({}, {}), {}));
  EXPECT_EQ(apply({}, {2, 3}), (std::vector<float>{1, 2, 3, 4, -5, 6}));
}

TEST(LogitRules, AllowedTokensAreTheOnlyOnes) {
  EXPECT_EQ(masked(apply({.allowed_tokens = {2, 4}}, {})), (Tokens{0, 1, 3, 5}));
}

TEST(LogitRules, BadWordsAreCutAtTheirLastToken) {
  const SamplingParams sampling{.bad_words = {{3}, {2, 4}, {2, 2, 0}}};
  EXPECT_EQ(masked(apply(sampling, {})), (Tokens{3}));
  EXPECT_EQ(masked(apply(sampling, {2})), (Tokens{3, 4}));
  EXPECT_EQ(masked(apply(sampling, {2, 2})), (Tokens{0, 3, 4}));
  EXPECT_EQ(masked(apply(sampling, {2, 1})), (Tokens{3}));
}

TEST(LogitRules, BadWordsLookAtTheOutputOnly) {
  EXPECT_TRUE(masked(apply({.bad_words = {{1, 4}}}, {})).empty());  // the prompt ends with 1
}

TEST(LogitRules, MinTokensForbidsTheEndUntilThen) {
  SamplingParams sampling{.min_tokens = 2, .stop_tokens = {3}};
  EXPECT_EQ(masked(apply(sampling, {2})), (Tokens{3, 5}));
  EXPECT_TRUE(masked(apply(sampling, {2, 2})).empty());
  sampling.ignore_eos = true;
  EXPECT_EQ(masked(apply(sampling, {2})), (Tokens{3}));
}

TEST(LogitRules, PenaltiesAreVllms) {
  // Repetition: prompt and output, dividing what is positive and multiplying what is not.
  EXPECT_EQ(apply({.repetition_penalty = 2.0}, {4, 3}), (std::vector<float>{0.5, 1, 3, 2, -10, 6}));
  // Presence and frequency: the output only.
  EXPECT_EQ(apply({.presence_penalty = 0.5}, {3, 3}), (std::vector<float>{1, 2, 3, 3.5, -5, 6}));
  EXPECT_EQ(apply({.frequency_penalty = 0.5}, {3, 3, 0}),
            (std::vector<float>{0.5, 2, 3, 3, -5, 6}));
}

TEST(LogitRules, BiasComesBeforePenalties) {
  EXPECT_EQ(apply({.repetition_penalty = 2.0, .logit_bias = {{4, 9.0f}}}, {4}),
            (std::vector<float>{0.5, 1, 3, 4, 2, 6}));
}

TEST(LogitRules, EndsSequence) {
  constexpr int32_t kEnd[] = {5};
  EXPECT_TRUE(ends_sequence(sequence_with({}, {}), kEnd, 5));
  EXPECT_FALSE(ends_sequence(sequence_with({}, {}), kEnd, 4));
  EXPECT_FALSE(ends_sequence(sequence_with({.ignore_eos = true}, {}), kEnd, 5));
  EXPECT_TRUE(ends_sequence(sequence_with({.ignore_eos = true, .stop_tokens = {5}}, {}), kEnd, 5));
}

}  // namespace
}  // namespace sluice::engine
