#include "api/openai_response.h"

#include <gtest/gtest.h>

#include "api/json_text.h"
#include "base/json.h"

namespace sluice::api {
namespace {

using completion::Delta;
using completion::FinishReason;
using completion::LogprobEntry;

AnswerHead head(OpenAiKind kind) { return {kind, "id-1", 17, "m\"odel", "fp_1"}; }

GenerateCall call_with_choices(int n) {
  GenerateCall call;
  call.request.prompts.emplace_back(completion::TextPrompt{"p", true});
  call.request.choices_per_prompt = n;
  return call;
}

LogprobEntry entry(const std::string& text, float logprob) {
  LogprobEntry e;
  e.chosen = {1, text, logprob, 1};
  e.top = {{1, text, logprob, 1}, {2, "z", logprob - 1, 2}};
  return e;
}

TEST(AnswerBody, ChatIsValidAndComplete) {
  GenerateCall call = call_with_choices(2);
  call.logprobs = true;
  std::vector<CollectedChoice> choices(2);
  choices[0].text = "a\"\n\x01";
  choices[0].logprobs = {entry("a", -0.5f)};
  choices[1].finish = FinishReason::kLength;
  choices[1].stop_reason = std::string("END");
  const auto body = parse_json(
      answer_body(head(OpenAiKind::kChat), call, {CollectedPrompt{}}, choices, {3, 4, 2}));
  ASSERT_TRUE(body) << body.error().message();
  EXPECT_EQ(body->at("object"), "chat.completion");
  EXPECT_EQ(body->at("model"), "m\"odel");
  EXPECT_EQ(body->at_pointer("/choices/0/message/content"), "a\"\n\x01");
  EXPECT_EQ(body->at_pointer("/choices/0/logprobs/content/0/token"), "a");
  EXPECT_EQ(body->at_pointer("/choices/0/logprobs/content/0/top_logprobs").as_array().size(), 2u);
  EXPECT_EQ(body->at_pointer("/choices/1/finish_reason"), "length");
  EXPECT_EQ(body->at_pointer("/choices/1/stop_reason"), "END");
  EXPECT_EQ(body->at_pointer("/usage/total_tokens"), 7);
  EXPECT_EQ(body->at_pointer("/usage/prompt_tokens_details/cached_tokens"), 2);
}

TEST(AnswerBody, EchoPutsPromptAndItsLogprobsFirst) {
  GenerateCall call = call_with_choices(1);
  call.logprobs = true;
  call.request.echo = true;
  CollectedPrompt prompt;
  prompt.text = "Hey you";
  prompt.logprobs = {entry(" you", -1)};
  std::vector<CollectedChoice> choices(1);
  choices[0].text = "!";
  choices[0].logprobs = {entry("!", -2)};
  const auto body =
      parse_json(answer_body(head(OpenAiKind::kCompletion), call, {prompt}, choices, {2, 1, 0}));
  ASSERT_TRUE(body) << body.error().message();
  EXPECT_EQ(body->at_pointer("/choices/0/text"), "Hey you!");
  EXPECT_EQ(to_json(body->at_pointer("/choices/0/logprobs/tokens")), R"(["Hey"," you","!"])");
  EXPECT_TRUE(body->at_pointer("/choices/0/logprobs/token_logprobs/0").is_null());
  EXPECT_EQ(to_json(body->at_pointer("/choices/0/logprobs/text_offset")), "[0,3,7]");
}

TEST(ChunkWriter, RoleComesWithTheFirstContent) {
  const GenerateCall call = call_with_choices(2);
  ChunkWriter writer(head(OpenAiKind::kChat), call);
  Delta delta;
  delta.choice = 1;
  delta.text = "x";
  const auto first = parse_json(writer.delta(delta, nullptr));
  EXPECT_EQ(first->at_pointer("/choices/0/delta/role"), "assistant");
  EXPECT_EQ(first->at_pointer("/choices/0/delta/content"), "x");
  EXPECT_EQ(first->at_pointer("/choices/0/index"), 1);
  EXPECT_TRUE(first->at_pointer("/choices/0/finish_reason").is_null());
  delta.finish = FinishReason::kStop;
  const auto second = parse_json(writer.delta(delta, nullptr));
  EXPECT_FALSE(second->at_pointer("/choices/0/delta").as_object().contains("role"));
  EXPECT_EQ(second->at_pointer("/choices/0/finish_reason"), "stop");
  const auto last = parse_json(writer.usage({1, 2, 0}));
  EXPECT_TRUE(last->at("choices").as_array().empty());
  EXPECT_EQ(last->at_pointer("/usage/completion_tokens"), 2);
}

TEST(ChunkWriter, CompletionOffsetsGoOn) {
  GenerateCall call = call_with_choices(1);
  call.logprobs = true;
  ChunkWriter writer(head(OpenAiKind::kCompletion), call);
  Delta delta;
  delta.text = "ab";
  delta.logprobs = {entry("a", -1), entry("b", -1)};
  writer.delta(delta, nullptr);
  delta.text = "c";
  delta.logprobs = {entry("c", -1)};
  const auto second = parse_json(writer.delta(delta, nullptr));
  EXPECT_EQ(to_json(second->at_pointer("/choices/0/logprobs/text_offset")), "[2]");
}

TEST(ErrorBody, SaysTypeParamAndCode) {
  const auto body =
      parse_json(error_body(Status(Code::kNotFound, "no \"x\"", "model", "model_not_found")));
  EXPECT_EQ(body->at_pointer("/error/message"), "no \"x\"");
  EXPECT_EQ(body->at_pointer("/error/type"), "not_found_error");
  EXPECT_EQ(body->at_pointer("/error/param"), "model");
  EXPECT_EQ(body->at_pointer("/error/code"), "model_not_found");
  EXPECT_TRUE(parse_json(error_body(431, "too large \xff")));
}

TEST(JsonText, LossyUtf8ReplacesWhatIsBroken) {
  EXPECT_EQ(lossy_utf8("a\xC3\xA9"), "a\xC3\xA9");
  EXPECT_EQ(lossy_utf8("\xC3"), "\xEF\xBF\xBD");
  EXPECT_EQ(lossy_utf8("\xED\xA0\x80").size(), 9u);  // a surrogate is not UTF-8
  EXPECT_EQ(lossy_utf8("\xF0\x9F\x98\x80"), "\xF0\x9F\x98\x80");
}

}  // namespace
}  // namespace sluice::api
