#include "engine/request_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>

namespace sluice::engine {
namespace {

constexpr RequestBounds kBounds{.vocab = 10, .max_context = 8, .kv_tokens = 6};

Request good() {
  Request request;
  request.prompt = {1, 2, 3};
  return request;
}

TEST(RequestCheck, TheDefaultsPass) { EXPECT_TRUE(check_request(good(), kBounds)); }

TEST(RequestCheck, ThePromptMustLeaveRoomForOneToken) {
  Request request = good();
  request.prompt.assign(5, 1);
  EXPECT_TRUE(check_request(request, kBounds));
  request.prompt.assign(6, 1);
  auto result = check_request(request, kBounds);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
  EXPECT_EQ(result.error().reason(), "context_length_exceeded");
  EXPECT_NE(result.error().message().find("KV cache holds 6"), std::string::npos);
  request.prompt.assign(8, 1);
  result = check_request(request, kBounds);
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message().find("may have 8"), std::string::npos);
}

TEST(RequestCheck, WhatHasNoMeaningIsRefusedByName) {
  const double nan = std::nan("");
  const std::pair<const char*, std::function<void(Request&)>> cases[] = {
      {"", [](Request& r) { r.prompt.clear(); }},
      {"prompt", [](Request& r) { r.prompt[1] = 10; }},
      {"prompt", [](Request& r) { r.prompt[1] = -1; }},
      {"temperature", [](Request& r) { r.sampling.temperature = -0.1; }},
      {"temperature", [&](Request& r) { r.sampling.temperature = nan; }},
      {"top_p", [](Request& r) { r.sampling.top_p = 1.5; }},
      {"top_k", [](Request& r) { r.sampling.top_k = -1; }},
      {"min_p", [&](Request& r) { r.sampling.min_p = nan; }},
      {"typical_p", [](Request& r) { r.sampling.typical_p = -1; }},
      {"repetition_penalty", [](Request& r) { r.sampling.repetition_penalty = 0; }},
      {"presence_penalty",
       [](Request& r) { r.sampling.presence_penalty = std::numeric_limits<double>::infinity(); }},
      {"frequency_penalty", [&](Request& r) { r.sampling.frequency_penalty = nan; }},
      {"logit_bias", [](Request& r) { r.sampling.logit_bias = {{10, 1.0f}}; }},
      {"logit_bias", [](Request& r) { r.sampling.logit_bias = {{1, std::nanf("")}}; }},
      {"bad_words", [](Request& r) { r.sampling.bad_words = {{}}; }},
      {"bad_words", [](Request& r) { r.sampling.bad_words = {{1, 11}}; }},
      {"allowed_tokens", [](Request& r) { r.sampling.allowed_tokens = {-5}; }},
      {"stop_tokens", [](Request& r) { r.sampling.stop_tokens = {99}; }},
      {"max_tokens", [](Request& r) { r.sampling.max_tokens = -1; }},
      {"min_tokens", [](Request& r) { r.sampling.min_tokens = 17; }},
      {"logprobs", [](Request& r) { r.sampling.logprobs = -2; }},
      {"prompt_logprobs", [](Request& r) { r.sampling.prompt_logprobs = -2; }},
  };
  for (const auto& [param, spoil] : cases) {
    Request request = good();
    spoil(request);
    const auto result = check_request(request, kBounds);
    ASSERT_FALSE(result) << param;
    EXPECT_EQ(result.error().code(), Code::kInvalidArgument);
    EXPECT_EQ(result.error().param(), param);
    EXPECT_FALSE(result.error().message().empty());
  }
}

}  // namespace
}  // namespace sluice::engine
