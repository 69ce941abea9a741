#include "text/utf8.h"

#include <gtest/gtest.h>

#include "base/rng.h"

namespace sluice::text {
namespace {

TEST(Utf8, DecodesEveryScalarValue) {
  for (char32_t code = 0; code < 0x110000; ++code) {
    if (code == 0xD800) code = 0xE000;
    std::string bytes;
    append_utf8(bytes, code);
    const DecodedChar c = decode_char(bytes);
    ASSERT_TRUE(c.valid) << static_cast<uint32_t>(code);
    ASSERT_EQ(c.code, code);
    ASSERT_EQ(c.length, bytes.size());
    ASSERT_EQ(char_length(bytes[0]), bytes.size());
    ASSERT_EQ(decode_valid(bytes).code, code);
  }
}

// Examples of The Unicode Standard 15.0, tables 3-8 to 3-11.
TEST(Utf8, ReplacesMaximalSubparts) {
  const auto repaired = [](std::string_view bytes) { return repair_utf8(bytes); };
  const std::string r(kReplacementText);
  EXPECT_EQ(repaired("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(repaired("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(repaired("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"),
            r + r + r + r + r + "A" + r + r + "B");
  EXPECT_EQ(repaired("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(repaired("\xE2\x82"), r);
}

TEST(Utf8, ValidityAgreesWithDecoding) {
  Rng rng(5);
  for (int round = 0; round < 20000; ++round) {
    std::string bytes;
    const uint64_t length = rng.below(20);
    for (uint64_t i = 0; i < length; ++i) {
      bytes.push_back(static_cast<char>(rng.chance(0.6) ? rng.below(128) : rng.below(256)));
    }
    bool valid = true;
    for (size_t at = 0; at < bytes.size();) {
      const DecodedChar c = decode_char(std::string_view(bytes).substr(at));
      valid &= c.valid;
      at += c.length;
    }
    ASSERT_EQ(is_valid_utf8(bytes), valid);
    const std::string repaired = repair_utf8(bytes);
    ASSERT_TRUE(is_valid_utf8(repaired));
    ASSERT_EQ(repaired == bytes, valid);
  }
}

TEST(Utf8, TakeCompleteKeepsOnlyABeginning) {
  std::string pending = "a\xF0\x9F";
  EXPECT_EQ(take_complete(pending), "a");
  EXPECT_EQ(pending, "\xF0\x9F");
  pending += "\x98\x80!";
  EXPECT_EQ(take_complete(pending), "😀!");
  EXPECT_EQ(pending, "");
  pending = "\xF0\x9Fz";
  EXPECT_EQ(take_complete(pending), "\uFFFDz");
  pending = "\xC0";  // can begin nothing
  EXPECT_EQ(take_complete(pending), "\uFFFD");
  pending = "\xED\xA0";  // a surrogate: no third byte helps
  EXPECT_EQ(take_complete(pending), "\uFFFD\uFFFD");
}

// Byte by byte, what comes out equals repairing everything at once.
TEST(Utf8, TakeCompleteEqualsRepair) {
  Rng rng(6);
  for (int round = 0; round < 20000; ++round) {
    std::string all;
    std::string out;
    std::string pending;
    for (int i = 0; i < 12; ++i) {
      const char byte = static_cast<char>(rng.chance(0.7) ? rng.between(0x80, 0xFF) : 'a');
      all.push_back(byte);
      pending.push_back(byte);
      out += take_complete(pending);
      ASSERT_LE(pending.size(), 3u);
    }
    out += repair_utf8(pending);
    ASSERT_EQ(out, repair_utf8(all));
  }
}

}  // namespace
}  // namespace sluice::text
