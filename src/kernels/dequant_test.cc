#include "kernels/dequant.h"

#include <bit>
#include <cmath>

#include "kernels/blocks.h"
#include "kernels/kernels_testing.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

TEST(Half, EveryPatternThereAndBack) {
  for (uint32_t h = 0; h < 65536; ++h) {
    const float f = f16_to_float(static_cast<uint16_t>(h));
    if (std::isnan(f)) {
      EXPECT_TRUE(std::isnan(f16_to_float(float_to_f16(f))));
    } else {
      ASSERT_EQ(float_to_f16(f), h);
    }
  }
  EXPECT_EQ(f16_to_float(0x3C01), 1.0F + 0x1p-10F);
  EXPECT_EQ(f16_to_float(0x0001), 0x1p-24F);
  EXPECT_EQ(f16_to_float(0x7BFF), 65504.0F);
}

TEST(Half, RoundsToNearestEven) {
  EXPECT_EQ(float_to_f16(1.0F + 0x1p-11F), 0x3C00);             // halfway: down to even
  EXPECT_EQ(float_to_f16(1.0F + 3 * 0x1p-11F), 0x3C02);         // halfway: up to even
  EXPECT_EQ(float_to_f16(1.0F + 0x1p-11F + 0x1p-20F), 0x3C01);  // above halfway
  EXPECT_EQ(float_to_f16(65519.0F), 0x7BFF);
  EXPECT_EQ(float_to_f16(65520.0F), 0x7C00);
  EXPECT_EQ(float_to_f16(0x1p-25F), 0x0000);
  EXPECT_EQ(float_to_f16(0x1.8p-25F), 0x0001);
  EXPECT_EQ(float_to_f16(-0.0F), 0x8000);
  EXPECT_EQ(float_to_bf16(1.0F + 0x1p-8F), 0x3F80);
  EXPECT_EQ(float_to_bf16(1.0F + 0x3p-8F), 0x3F82);
  EXPECT_EQ(float_to_bf16(1.0F + 0x1p-8F + 0x1p-20F), 0x3F81);
  EXPECT_EQ(float_to_bf16(3.4e38F), 0x7F80);
  EXPECT_EQ(float_to_bf16(0x1p-133F), 0x0001);
  EXPECT_TRUE(std::isnan(bf16_to_float(float_to_bf16(std::bit_cast<float>(0x7F800001U)))));
}

template <typename Block>
std::vector<float> decoded(DType dtype, const Block& block, int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  dequantize(dtype, reinterpret_cast<const std::byte*>(&block), count, values.data());
  return values;
}

F16Bytes half(float x) {
  F16Bytes h;
  const uint16_t bits = float_to_f16(x);
  std::memcpy(h.bytes, &bits, sizeof bits);
  return h;
}

// Values worked out by hand from the description of each format in blocks.h.
TEST(Dequantize, BlocksOf32) {
  BlockQ4_0 q4{half(0.5F), {}};
  q4.qs[3] = 0xA1;
  EXPECT_EQ(decoded(DType::kQ4_0, q4, 32)[3], 0.5F * (1 - 8));
  EXPECT_EQ(decoded(DType::kQ4_0, q4, 32)[19], 0.5F * (10 - 8));

  BlockQ4_1 q41{half(0.5F), half(-2.0F), {}};
  q41.qs[0] = 0x2F;
  EXPECT_EQ(decoded(DType::kQ4_1, q41, 32)[0], 0.5F * 15 - 2);
  EXPECT_EQ(decoded(DType::kQ4_1, q41, 32)[16], 0.5F * 2 - 2);

  BlockQ5_0 q5{half(0.25F), {0, 0, 0x08, 0}, {}};
  q5.qs[3] = 0x21;
  EXPECT_EQ(decoded(DType::kQ5_0, q5, 32)[3], 0.25F * (1 - 16));
  EXPECT_EQ(decoded(DType::kQ5_0, q5, 32)[19], 0.25F * (18 - 16));

  BlockQ5_1 q51{half(1.0F), half(3.0F), {0x01, 0, 0, 0}, {}};
  EXPECT_EQ(decoded(DType::kQ5_1, q51, 32)[0], 19.0F);
  EXPECT_EQ(decoded(DType::kQ5_1, q51, 32)[1], 3.0F);

  BlockQ8_0 q8{half(0.5F), {}};
  q8.qs[31] = -128;
  EXPECT_EQ(decoded(DType::kQ8_0, q8, 32)[31], -64.0F);

  BlockIQ4_NL iq{half(2.0F), {}};
  iq.qs[5] = 0xF0;
  EXPECT_EQ(decoded(DType::kIQ4_NL, iq, 32)[5], -254.0F);
  EXPECT_EQ(decoded(DType::kIQ4_NL, iq, 32)[21], 226.0F);
}

TEST(Dequantize, BlocksOf256) {
  BlockQ2_K q2{};
  q2.d = half(0.5F), q2.dmin = half(0.25F);
  q2.scales[11] = 0x73;     // elements 176 … 191: scale 3, min 7
  q2.qs[32 + 20] = 0b1000;  // element 128 + 32 + 20: quant 2
  EXPECT_EQ(decoded(DType::kQ2_K, q2, 256)[180], 0.5F * 3 * 2 - 0.25F * 7);

  BlockQ3_K q3{};
  q3.d = half(0.5F);
  q3.scales[3] = 0x90, q3.scales[11] = 0b10000000;  // scale 11 is 9 | 0b10 << 4 from byte 3; 15: 2
  q3.scales[8 + 3] = 0b00100000;                    // bits 4, 5 are those of scale 11
  q3.qs[32 + 20] = 0b1100, q3.hmask[20] = 1 << 5;   // element 180: quant 3, high bit set
  EXPECT_EQ(decoded(DType::kQ3_K, q3, 256)[180], 0.5F * (9 + 32 - 32) * 3);
  EXPECT_EQ(decoded(DType::kQ3_K, q3, 256)[181], 0.5F * (9 + 32 - 32) * -4);

  BlockQ4_K q4{};
  q4.d = half(0.5F), q4.dmin = half(0.25F);
  q4.scales[1] = 0x80 | 33, q4.scales[5] = 0x40 | 17;  // sub-block 1: 33, 17; high bits of 5: 2, 1
  q4.scales[9] = 0x3A;  // sub-block 5: scale 10 | 2 << 4, min 3 | 1 << 4
  q4.qs[7] = 0xC0, q4.qs[64 + 7] = 0x50;
  EXPECT_EQ(decoded(DType::kQ4_K, q4, 256)[39], 0.5F * 33 * 12 - 0.25F * 17);
  EXPECT_EQ(decoded(DType::kQ4_K, q4, 256)[167], 0.5F * 42 * 5 - 0.25F * 19);

  BlockQ5_K q5{};
  q5.d = half(1.0F), q5.dmin = half(1.0F);
  q5.scales[1] = 2, q5.scales[5] = 1;
  q5.qs[7] = 0xC0, q5.qh[7] = 1 << 1;
  EXPECT_EQ(decoded(DType::kQ5_K, q5, 256)[39], 2.0F * (12 + 16) - 1.0F);

  BlockQ6_K q6{};
  q6.d = half(0.5F);
  q6.scales[14] = -3;                               // elements 224 … 239
  q6.ql[64 + 32 + 4] = 0xB0, q6.qh[32 + 4] = 0x80;  // element 228: 11 | 2 << 4
  EXPECT_EQ(decoded(DType::kQ6_K, q6, 256)[228], 0.5F * -3 * (43 - 32));

  BlockIQ4_XS iq{};
  iq.d = half(1.0F);
  iq.scales_l[2] = 0x50, iq.scales_h[1] = 0b00001000;  // sub-block 5: 5 | 2 << 4
  iq.qs[16 * 5 + 1] = 0x0F;
  EXPECT_EQ(decoded(DType::kIQ4_XS, iq, 256)[161], (37.0F - 32) * 113);
  EXPECT_EQ(decoded(DType::kIQ4_XS, iq, 256)[177], (37.0F - 32) * -127);
}

}  // namespace
}  // namespace sluice::kernels
