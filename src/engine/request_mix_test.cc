#include "engine/request_mix.h"

#include <gtest/gtest.h>

namespace sluice::engine {
namespace {

TEST(RequestMix, KnowsNothingAtFirst) { EXPECT_EQ(RequestMix().prompt_rows_per_token(), 0.0); }

TEST(RequestMix, WhatIsAskedStandsForWhatWillBe) {
  RequestMix mix;
  mix.began(600, 100);
  mix.began(200, 100);
  EXPECT_DOUBLE_EQ(mix.prompt_rows_per_token(), 4.0);
}

// The shortest answers are the first.
TEST(RequestMix, ASingleAnswerIsNotBelieved) {
  RequestMix mix;
  mix.began(600, 100);
  mix.ended(600, 1);
  EXPECT_DOUBLE_EQ(mix.prompt_rows_per_token(), 6.0);
}

TEST(RequestMix, AnswersCountMoreThanWhatWasAsked) {
  RequestMix mix;
  for (int i = 0; i < 8; ++i) {
    mix.began(600, 32768);
    mix.ended(300, 100);
  }
  EXPECT_DOUBLE_EQ(mix.prompt_rows_per_token(), 3.0);
}

TEST(RequestMix, FollowsALoadThatChanges) {
  RequestMix mix;
  for (int i = 0; i < 1000; ++i) mix.ended(1000, 10);
  for (int i = 0; i < 200; ++i) mix.ended(10, 1000);
  EXPECT_LT(mix.prompt_rows_per_token(), 0.02);
}

// Cancelled ones among them.
TEST(RequestMix, AnswersWithoutTokensAreNoReasonToDivideByZero) {
  RequestMix mix;
  for (int i = 0; i < 10; ++i) mix.ended(10, 0);
  EXPECT_EQ(mix.prompt_rows_per_token(), 0.0);
}

}  // namespace
}  // namespace sluice::engine
