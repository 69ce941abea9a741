#include "gateway/quota.h"

#include <gtest/gtest.h>

#include "gateway/body_scan.h"

namespace sluice::gateway {
namespace {

TEST(FindUsageTest, ReadsTheLastOne) {
  const auto whole = find_usage(
      R"({"choices":[{"text":"\"usage\":{\"prompt_tokens\":9}"}],"usage": {"prompt_tokens":3,)"
      R"("completion_tokens":4,"details":{"cached":1}}})");
  ASSERT_TRUE(whole);
  EXPECT_EQ(whole->prompt, 3);
  EXPECT_EQ(whole->completion, 4);
  const auto stream = find_usage(
      "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":1}}\n\n"
      "data: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n");
  ASSERT_TRUE(stream);
  EXPECT_EQ(stream->completion, 2);
  const auto anthropic = find_usage(R"({"usage":{"input_tokens":5,"output_tokens":6}})");
  ASSERT_TRUE(anthropic);
  EXPECT_EQ(anthropic->prompt, 5);
}

TEST(FindUsageTest, SaysNothingOfAnswersWithoutOne) {
  for (const char* text :
       {"", "data: [DONE]", R"({"usage":null})", R"({"usage":{"prompt_tokens":1}})",
        R"({"usage":{"prompt_tokens":1,"completion_tokens":)",
        R"({"usage":{"prompt_tokens":"1","completion_tokens":2}})"}) {
    EXPECT_FALSE(find_usage(text)) << text;
  }
}

TEST(FindUsageTest, TheTailOfALongAnswerHoldsIt) {
  std::string tail;
  for (int i = 0; i < 10'000; ++i) keep_tail(tail, "data: {\"choices\":[]}\n\n");
  keep_tail(tail, R"({"usage":{"prompt_tokens":1,"completion_tokens":2}})");
  EXPECT_LT(tail.size(), 10'000u);
  EXPECT_TRUE(find_usage(tail));
}

TEST(PromptBoundTest, IsNeverBelowOneTokenAByte) {
  EXPECT_GE(prompt_bound(R"([{"role":"user","content":"hello"}])"), 36);
}

TEST(PromptCountTest, CountsTextsAndListsOfTokens) {
  EXPECT_EQ(prompt_count(R"("a, b")"), 1);
  EXPECT_EQ(prompt_count("[1, 2, 3]"), 1);
  EXPECT_EQ(prompt_count(R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])"), 1);
  EXPECT_EQ(prompt_count(R"( ["a"])"), 1);
  EXPECT_EQ(prompt_count(R"(["a, [\"b", "c"])"), 2);
  EXPECT_EQ(prompt_count("[[1,2],[3],[4,5,6]]"), 3);
  EXPECT_EQ(prompt_count(""), 1);
}

TEST(BodyScanTest, FindsWhatARequestMayCost) {
  const auto fields = scan_body(R"({"model":"m","max_tokens":7,"max_completion_tokens":9,"n":2})");
  ASSERT_TRUE(fields);
  EXPECT_EQ(fields->max_tokens, 9);
  EXPECT_EQ(fields->choices, 2);
  EXPECT_EQ(scan_body(R"({"max_tokens":null})")->max_tokens, std::nullopt);
  for (const char* body : {R"({"max_tokens":1e3})", R"({"max_tokens":-1})", R"({"n":"2"})",
                           R"({"max_tokens":99999999999})"}) {
    EXPECT_FALSE(scan_body(body)) << body;
  }
}

std::string bounded(std::string_view body) {
  auto fields = scan_body(body);
  if (!fields) return fields.error().message();
  const auto out = with_max_tokens(body, *fields, 5);
  if (!out) return out.error().message();
  EXPECT_EQ(fields->max_tokens, 5);
  EXPECT_FALSE(fields->prompt.of(*out).empty());
  return *out;
}

TEST(BodyScanTest, PutsInAMaximumOnce) {
  EXPECT_EQ(bounded(R"( {"prompt":1})"), R"( {"max_tokens":5,"prompt":1})");
  EXPECT_EQ(bounded(R"({"max_tokens": null, "prompt":"a"})"), R"({"max_tokens": 5, "prompt":"a"})");
  EXPECT_EQ(bounded(R"({"input":"a"})"), R"({"max_output_tokens":5,"input":"a"})");
  EXPECT_EQ(bounded(R"({"input":"a","max_output_tokens":null})"),
            R"({"input":"a","max_output_tokens":5})");
  EXPECT_EQ(bounded(R"({"max_completion_tokens":null,"messages":[]})"),
            R"({"max_tokens":5,"max_completion_tokens":null,"messages":[]})");
}

TEST(CompletionBoundTest, DoesNotOverflow) {
  EXPECT_EQ(completion_bound(10, 2, 3), 60);
  EXPECT_EQ(completion_bound(INT32_MAX, INT32_MAX, 8), kMostTokens);
}

}  // namespace
}  // namespace sluice::gateway
