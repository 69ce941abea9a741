#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/kernels_testing.h"

namespace sluice::kernels {
namespace {

constexpr double kEps = 0x1p-24;
constexpr int64_t kWidths[] = {1, 2, 7, 8, 15, 16, 17, 33, 100, 896};

class Ops : public EveryIsa {
 protected:
  ThreadTeam one_{1};
  ThreadTeam three_{3};
};

INSTANTIATE_TEST_SUITE_P(Isa, Ops, every_isa(), isa_test_name);

TEST_P(Ops, RmsNorm) {
  Rng rng(1);
  for (const int64_t width : kWidths) {
    const int64_t n = 37;
    const std::vector<float> x = random_floats(rng, n * width, 3.0);
    const std::vector<float> weight = random_floats(rng, width);
    std::vector<float> out(x.size());
    rms_norm(isa(), x.data(), n, width, weight, 1e-5F, out.data(), three_);
    for (int64_t i = 0; i < n; ++i) {
      double squares = 0;
      for (int64_t k = 0; k < width; ++k) squares += std::pow(double{x[size_t(i * width + k)]}, 2);
      const double scale = 1 / std::sqrt(squares / static_cast<double>(width) + double{1e-5F});
      for (int64_t k = 0; k < width; ++k) {
        const double expected = x[size_t(i * width + k)] * scale * weight[size_t(k)];
        const double bound = (static_cast<double>(width) / 8 + 10) * kEps * std::fabs(expected);
        ASSERT_NEAR(out[size_t(i * width + k)], expected, bound);
      }
      std::vector<float> in_place(x.begin() + i * width, x.begin() + (i + 1) * width);
      rms_norm(isa(), in_place.data(), 1, width, weight, 1e-5F, in_place.data(), one_);
      ASSERT_EQ(bits(in_place), bits(out.data() + i * width, width));
    }
  }
}

TEST_P(Ops, RopeTurnsPairs) {
  Rng rng(2);
  for (const int head_dim : {2, 6, 8, 20, 64, 80}) {
    for (const int dim : {head_dim, head_dim / 4 * 2}) {
      if (dim == 0) continue;
      const int64_t n = 3;
      const int heads = 2, half = dim / 2;
      const std::vector<float> x = random_floats(rng, n * heads * head_dim);
      std::vector<float> cos, sin;
      for (int64_t i = 0; i < n * half; ++i) {
        const double angle = rng.uniform() * 6;
        cos.push_back(static_cast<float>(std::cos(angle)));
        sin.push_back(static_cast<float>(std::sin(angle)));
      }
      std::vector<float> neighbours = x, halves = x;
      rope_neighbours(isa(), neighbours.data(), n, heads, head_dim, dim, cos.data(), sin.data());
      rope_halves(isa(), halves.data(), n, heads, head_dim, dim, cos.data(), sin.data());
      for (int64_t row = 0; row < n * heads; ++row) {
        const size_t at = static_cast<size_t>(row * head_dim);
        for (int j = 0; j < half; ++j) {
          const double c = cos[size_t(row / heads * half + j)];
          const double s = sin[size_t(row / heads * half + j)];
          const auto check = [&](const std::vector<float>& y, size_t a, size_t b) {
            ASSERT_NEAR(y[at + a], x[at + a] * c - x[at + b] * s, 4 * kEps);
            ASSERT_NEAR(y[at + b], x[at + a] * s + x[at + b] * c, 4 * kEps);
          };
          check(neighbours, 2 * size_t(j), 2 * size_t(j) + 1);
          check(halves, size_t(j), size_t(j) + size_t(half));
        }
        for (size_t d = static_cast<size_t>(dim); d < static_cast<size_t>(head_dim); ++d) {
          ASSERT_EQ(neighbours[at + d], x[at + d]);
          ASSERT_EQ(halves[at + d], x[at + d]);
        }
      }
    }
  }
}

double gelu_of(double g) {
  return 0.5 * g * (1 + std::tanh(0.7978845608028654 * (g + 0.044715 * g * g * g)));
}

TEST_P(Ops, ActivationsMatchAndCutAnywhere) {
  Rng rng(3);
  for (const int64_t count : {int64_t{1}, int64_t{5}, int64_t{16}, int64_t{31}, int64_t{20000}}) {
    std::vector<float> gate = random_floats(rng, count, 12.0);
    gate[0] = 0.0F;
    const std::vector<float> up = random_floats(rng, count, 2.0);
    std::vector<float> silu(gate.size()), gelu(gate.size());
    silu_mul(isa(), gate.data(), up.data(), count, silu.data(), three_);
    gelu_mul(isa(), gate.data(), up.data(), count, gelu.data(), three_);
    for (size_t i = 0; i < gate.size(); ++i) {
      const double g = gate[i], u = up[i];
      // exp turns the rounding of its argument, up to 12 (silu) or 300 (gelu), into relative error.
      ASSERT_NEAR(silu[i], g / (1 + std::exp(-g)) * u, 20 * kEps * std::fabs(g * u) + 1e-37);
      ASSERT_NEAR(gelu[i], gelu_of(g) * u, 20 * kEps * std::fabs(g * u) + 1e-37);
    }
    std::vector<float> pieces = gate;
    for (int64_t i = 0; i < count; i += 3) {
      const int64_t some = std::min<int64_t>(3, count - i);
      silu_mul(isa(), pieces.data() + i, up.data() + i, some, pieces.data() + i, one_);
    }
    ASSERT_EQ(bits(pieces), bits(silu));
  }
}

TEST_P(Ops, ActivationsOfExtremes) {
  const float huge = 1e30F, infinity = std::numeric_limits<float>::infinity();
  const std::vector<float> gate = {-huge, huge, -100, 100, 88.5F, -88.5F, infinity, NAN};
  const std::vector<float> up(gate.size(), 1.0F);
  std::vector<float> out(gate.size());
  silu_mul(isa(), gate.data(), up.data(), 8, out.data(), one_);
  EXPECT_NEAR(out[0], 0, 1e-20);
  EXPECT_EQ(out[1], huge);
  EXPECT_NEAR(out[2], 0, 1e-30);
  EXPECT_EQ(out[3], 100);
  EXPECT_EQ(out[4], 88.5F);
  EXPECT_NEAR(out[5], 0, 1e-30);
  EXPECT_EQ(out[6], infinity);
  EXPECT_TRUE(std::isnan(out[7]));
  gelu_mul(isa(), gate.data(), up.data(), 6, out.data(), one_);
  EXPECT_NEAR(out[2], 0, 1e-30);
  EXPECT_EQ(out[3], 100);
  EXPECT_NEAR(out[5], 0, 1e-30);
}

TEST_P(Ops, AddsAndScales) {
  Rng rng(4);
  for (const int64_t count : kWidths) {
    const std::vector<float> x = random_floats(rng, count), y = random_floats(rng, count);
    std::vector<float> sum = x, scaled = x;
    add(isa(), sum.data(), y.data(), count);
    add_scaled(isa(), scaled.data(), y.data(), 0.7F, count);
    for (size_t i = 0; i < x.size(); ++i) {
      ASSERT_EQ(sum[i], x[i] + y[i]);
      ASSERT_NEAR(scaled[i], x[i] + double{0.7F} * y[i], 2 * kEps * (1 + std::fabs(x[i])));
    }
  }
}

TEST_P(Ops, SoftcapKeepsDigitsNearZero) {
  Rng rng(5);
  for (const double range : {1e-4, 1.0, 30.0, 1000.0}) {
    std::vector<float> x = random_floats(rng, 1003, range);
    const std::vector<float> before = x;
    softcap(isa(), x.data(), 1003, 30.0F);
    for (size_t i = 0; i < x.size(); ++i) {
      const double expected = 30.0 * std::tanh(before[i] / 30.0);
      ASSERT_NEAR(x[i], expected, 8 * kEps * std::fabs(expected));
    }
  }
}

TEST_P(Ops, SoftmaxSumsToOne) {
  Rng rng(6);
  for (const int64_t width : kWidths) {
    const int64_t n = 3;
    std::vector<float> x = random_floats(rng, n * width, 20.0);
    if (width > 2) x[1] = -std::numeric_limits<float>::infinity();
    const std::vector<float> before = x;
    softmax(isa(), x.data(), n, width);
    for (int64_t i = 0; i < n; ++i) {
      const float* row = before.data() + i * width;
      const double top = *std::max_element(row, row + width);
      double total = 0;
      for (int64_t k = 0; k < width; ++k) total += std::exp(row[k] - top);
      for (int64_t k = 0; k < width; ++k) {
        const double expected = std::exp(row[k] - top) / total;
        const double bound = (static_cast<double>(width) / 8 + 60) * kEps * expected + 1e-37;
        ASSERT_NEAR(x[size_t(i * width + k)], expected, bound);
      }
      std::vector<float> alone(row, row + width);
      softmax(isa(), alone.data(), 1, width);
      ASSERT_EQ(bits(alone), bits(x.data() + i * width, width));
    }
  }
}

TEST(Isas, NamesAndOrder) {
  const std::vector<Isa> built = built_isas();
  // Also those of other architectures: what is missing is named as it was asked for.
  for (int i = 0; i <= static_cast<int>(Isa::kNeonBf16); ++i) {
    const Isa isa = static_cast<Isa>(i);
    EXPECT_EQ(*parse_isa(isa_name(isa)), isa);
    EXPECT_TRUE(!isa_supported(isa) || std::ranges::count(built, isa) == 1) << isa_name(isa);
  }
  EXPECT_EQ(parse_isa("sse2").error().code(), Code::kInvalidArgument);
  EXPECT_EQ(built.front(), Isa::kReference);
  EXPECT_GT(built.size(), 1);
  EXPECT_EQ(supported_isas().front(), Isa::kReference);
  EXPECT_TRUE(isa_supported(best_isa()));
  // What is left out is at most the BF16 dot product.
  EXPECT_TRUE(best_isa() == supported_isas().back() ||
              (best_isa() == Isa::kAvx512Vnni && supported_isas().back() == Isa::kAvx512Bf16));
}

}  // namespace
}  // namespace sluice::kernels
