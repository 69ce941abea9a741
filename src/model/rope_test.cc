#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace sluice::model {
namespace {

using formats::RopeConfig;
using formats::RopeScaling;

RopeConfig plain(int dim, float theta) {
  RopeConfig c;
  c.dim = dim;
  c.theta = theta;
  return c;
}

TEST(Rope, PlainFrequenciesFallGeometrically) {
  const Rope rope(plain(8, 10000.0f), 2048, 2048);
  ASSERT_EQ(rope.half(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(rope.frequencies()[i], std::pow(10.0, -i), 1e-12);
  EXPECT_EQ(rope.magnitude(), 1.0);
}

TEST(Rope, AnglesStayExactAtFarPositions) {
  const Rope rope(plain(2, 10000.0f), 2048, 2048);
  float cos = 0;
  float sin = 0;
  // 1048575 radians, reduced by a calculator of 50 digits.
  rope.angles(1048575, &cos, &sin);
  EXPECT_FLOAT_EQ(cos, static_cast<float>(std::cos(1048575.0L)));
  EXPECT_FLOAT_EQ(sin, static_cast<float>(std::sin(1048575.0L)));
}

// Llama 3.1 8B: theta 500000, head size 128, factor 8 over 8192. Its published recipe keeps
// wavelengths up to 2048 and divides those above 8192.
TEST(Rope, Llama3KeepsHighAndDividesLowFrequencies) {
  RopeConfig c = plain(128, 500000.0f);
  const Rope bare(c, 131072, 131072);
  c.scaling = RopeScaling::kLlama3;
  c.factor = 8.0f;
  c.original_context = 8192;
  const Rope rope(c, 131072, 131072);
  int ramp = 0;
  for (size_t i = 0; i < 64; ++i) {
    const double wavelength = 2 * M_PI / bare.frequencies()[i];
    const double ratio = bare.frequencies()[i] / rope.frequencies()[i];
    if (wavelength < 2048) {
      EXPECT_DOUBLE_EQ(ratio, 1.0) << i;
    } else if (wavelength > 8192) {
      EXPECT_DOUBLE_EQ(ratio, 8.0) << i;
    } else {
      EXPECT_TRUE(ratio > 1.0 && ratio < 8.0) << i;
      ++ramp;
    }
  }
  EXPECT_EQ(ramp, 6);
}

// Qwen2.5 with its documented YaRN setting: theta 1e6, head size 128, factor 4 over 32768.
TEST(Rope, YarnRampsBetweenTurns) {
  RopeConfig c = plain(128, 1e6f);
  const Rope bare(c, 131072, 131072);
  c.scaling = RopeScaling::kYarn;
  c.factor = 4.0f;
  c.original_context = 32768;
  const Rope rope(c, 131072, 131072);
  EXPECT_NEAR(rope.magnitude(), 1.1386294361, 1e-9);  // 0.1 ln 4 + 1
  // Pairs of 32 turns and of 1 turn in 32768 positions: 23.6 and 39.6, rounded outward.
  const auto ratio = [&](size_t i) { return bare.frequencies()[i] / rope.frequencies()[i]; };
  EXPECT_DOUBLE_EQ(ratio(0), 1.0);
  EXPECT_DOUBLE_EQ(ratio(23), 1.0);
  EXPECT_GT(ratio(24), 1.0);
  EXPECT_LT(ratio(39), 4.0);
  EXPECT_DOUBLE_EQ(ratio(40), 4.0);
  EXPECT_DOUBLE_EQ(ratio(63), 4.0);
}

// Phi-3-mini-128k: 131072 over 4096, for which its configuration implies 1.19024.
TEST(Rope, LongRopeChoosesFactorsByTheLengthInUse) {
  RopeConfig c = plain(4, 10000.0f);
  c.scaling = RopeScaling::kLongRope;
  c.original_context = 4096;
  c.short_factors = {1.0f, 2.0f};
  c.long_factors = {4.0f, 8.0f};
  const Rope brief(c, 131072, 4096);
  const Rope extended(c, 131072, 4097);
  EXPECT_NEAR(brief.frequencies()[1], 0.01 / 2, 1e-12);
  EXPECT_NEAR(extended.frequencies()[0], 1.0 / 4, 1e-12);
  EXPECT_NEAR(extended.frequencies()[1], 0.01 / 8, 1e-12);
  EXPECT_NEAR(brief.magnitude(), 1.1902380714, 1e-9);
  EXPECT_EQ(brief.magnitude(), extended.magnitude());
  c.attention_factor = 1.25f;
  EXPECT_EQ(Rope(c, 131072, 4096).magnitude(), 1.25);
}

}  // namespace
}  // namespace sluice::model
