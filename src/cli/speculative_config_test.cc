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
  EXPECT_EQ(options->max_draft, 5);
  EXPECT_EQ(options->lookup_max, 4);
  EXPECT_EQ(options->lookup_min, 3);
  EXPECT_EQ(options->max_streams, 7);
}

TEST(SpeculativeConfig, FillsInWhatIsLeftOut) {
  const auto options = parse_speculative_config(R"({"method":"ngram"})");
  ASSERT_TRUE(options);
  EXPECT_EQ(options->max_draft, limits::kMaxDraft);
  EXPECT_EQ(options->lookup_min, 2);
  EXPECT_EQ(options->lookup_max, 5);
  EXPECT_EQ(parse_speculative_config(R"({"method":"ngram","prompt_lookup_max":1})")->lookup_min, 1);
  EXPECT_EQ(parse_speculative_config(R"({"method":"ngram","prompt_lookup_min":9})")->lookup_max, 9);
}

TEST(SpeculativeConfig, NoneIsOff) { EXPECT_EQ(parse_speculative_config("none")->max_draft, 0); }

TEST(SpeculativeConfig, RefusesWhatItDoesNotUnderstand) {
  for (const char* text :
       {"", "ngram", "[]", "{}", R"({"method":"eagle"})", R"({"method":"ngram","model":"x"})",
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
