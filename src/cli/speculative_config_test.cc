#include "cli/speculative_config.h"

#include <gtest/gtest.h>

#include "base/limits.h"

namespace sluice::cli {
namespace {

TEST(SpeculativeConfig, TakesVllmsKeys) {
  const auto options = parse_speculative_config(
      R"({"method":"ngram","num_speculative_tokens":5,"prompt_lookup_max":4,)"
      R"("prompt_lookup_min":3,"disable_by_batch_size":7})");
  ASSERT_TRUE(options) << options.error().message();
  EXPECT_EQ(options->options.max_draft, 5);
  EXPECT_EQ(options->options.lookup_max, 4);
  EXPECT_EQ(options->options.lookup_min, 3);
  EXPECT_EQ(options->options.max_streams, 7);
}

TEST(SpeculativeConfig, FillsInWhatIsLeftOut) {
  const auto options = parse_speculative_config(R"({"method":"ngram"})");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->options.max_draft, limits::kMaxDraft);
  EXPECT_EQ(options->options.lookup_min, 2);
  EXPECT_EQ(options->options.lookup_max, 5);
  EXPECT_EQ(
      parse_speculative_config(R"({"method":"ngram","prompt_lookup_max":1})")->options.lookup_min,
      1);
  EXPECT_EQ(
      parse_speculative_config(R"({"method":"ngram","prompt_lookup_min":9})")->options.lookup_max,
      9);
}

TEST(SpeculativeConfig, NamesADraftModel) {
  const auto config = parse_speculative_config(
      R"({"method":"draft_model","model":"small.gguf","num_speculative_tokens":3})");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->options.method, engine::DraftMethod::kModel);
  EXPECT_EQ(config->draft_model, "small.gguf");
  EXPECT_EQ(config->options.max_draft, 3);
  EXPECT_EQ(parse_speculative_config(R"({"method":"ngram"})")->draft_model, "");
}

TEST(SpeculativeConfig, NoneIsOff) {
  EXPECT_EQ(parse_speculative_config("none")->options.max_draft, 0);
}

TEST(SpeculativeConfig, RefusesWhatItDoesNotUnderstand) {
  for (const char* text :
       {"", "ngram", "[]", "{}", R"({"method":"eagle"})", R"({"method":"ngram","model":"x"})",
        R"({"method":"draft_model"})", R"({"method":"draft_model","model":""})",
        R"({"method":"draft_model","model":7})",
        R"({"method":"draft_model","model":"x","prompt_lookup_max":3})",
        R"({"method":"ngram","num_speculative_tokens":0})",
        R"({"method":"ngram","num_speculative_tokens":"5"})",
        R"({"method":"ngram","prompt_lookup_max":100000})",
        R"({"method":"ngram","prompt_lookup_min":4,"prompt_lookup_max":3})"}) {
    const auto options = parse_speculative_config(text);
    ASSERT_FALSE(options) << text;
    EXPECT_NE(options.error().message().find("--speculative-config"), std::string::npos);
  }
}

}  // namespace
}  // namespace sluice::cli
