#include "completion/stop_strings.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice::completion {
namespace {

struct Feed {
  std::string text;
  std::optional<size_t> stop;
};

Feed feed(const std::vector<std::string>& stops, bool include, std::string_view text, size_t step) {
  StopStrings matcher(stops, include);
  Feed run;
  for (size_t at = 0; at < text.size(); at += step) {
    StopStrings::Piece piece = matcher.push(text.substr(at, step));
    run.text += piece.text;
    if (piece.stop) {
      run.stop = piece.stop;
      return run;
    }
  }
  run.text += matcher.finish();
  return run;
}

TEST(StopStrings, CutsAtTheStopWhateverTheSplit) {
  for (size_t step = 1; step <= 12; ++step) {
    const Feed run = feed({"END"}, false, "abc E EN END tail", step);
    EXPECT_EQ(run.text, "abc E EN ") << step;
    EXPECT_EQ(run.stop, 0u);
  }
}

TEST(StopStrings, KeepsTheStopWhenAsked) {
  EXPECT_EQ(feed({"."}, true, "one. two.", 2).text, "one.");
}

TEST(StopStrings, GivesBackWhatOnlyLookedLikeAStop) {
  EXPECT_EQ(feed({"</s>", "\n\n"}, false, "a </s b\n", 1).text, "a </s b\n");
}

TEST(StopStrings, NeverSendsTextThatALongerStopNeeds) {
  const Feed run = feed({"aab", "ab"}, false, "xaaab", 1);
  EXPECT_EQ(run.text, "xa");
  EXPECT_EQ(run.stop, 0u);
}

// Over random texts the streamed result equals a search in the whole text.
TEST(StopStrings, EqualsAWholeSearch) {
  Rng rng(5);
  for (int round = 0; round < 3000; ++round) {
    std::string text;
    for (int i = 0; i < 20; ++i) text += static_cast<char>('a' + rng.below(2));
    std::vector<std::string> stops(1 + rng.below(3));
    for (std::string& stop : stops) {
      for (uint64_t i = 0, n = 1 + rng.below(5); i < n; ++i) {
        stop += static_cast<char>('a' + rng.below(2));
      }
    }
    const Feed one = feed(stops, false, text, 1);
    size_t end = std::string::npos;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at != std::string::npos) end = std::min(end, at + stop.size());
    }
    ASSERT_EQ(one.stop.has_value(), end != std::string::npos);
    if (one.stop) {
      ASSERT_EQ(one.text.size(), end - stops[*one.stop].size());
    } else {
      ASSERT_EQ(one.text, text);
    }
  }
}

}  // namespace
}  // namespace sluice::completion
