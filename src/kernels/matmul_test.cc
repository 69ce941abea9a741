#include <cmath>

#include "kernels/kernels_testing.h"
#include "kernels/weight_matrix.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

class Matmul : public EveryIsa {
 protected:
  std::unique_ptr<Matrix> prepare(const TestMatrix& m) {
    auto prepared = prepare_matrix(m.view, isa(), one_);
    EXPECT_TRUE(prepared) << prepared.error().message();
    return *std::move(prepared);
  }
  std::vector<float> product(const Matrix& w, const std::vector<float>& x, int64_t n,
                             std::span<const float> bias, ThreadTeam& team) {
    std::vector<float> y(static_cast<size_t>(n * w.out()), NAN);
    matmul(w, x.data(), n, y.data(), bias, team);
    return y;
  }

  ThreadTeam one_{1};
  ThreadTeam two_{2};
  ThreadTeam three_{3};
};

INSTANTIATE_TEST_SUITE_P(Isa, Matmul, every_isa(), isa_test_name);

int64_t block_of(DType dtype) { return tensor::dtype_info(dtype).block_elements; }

// Row lengths: one block, several, more than one panel, and odd ones where the format has no block.
std::vector<int64_t> lengths(DType dtype) {
  if (block_of(dtype) == 1) return {1, 7, 15, 16, 31, 33, 100, 1030};
  return {block_of(dtype), 3 * block_of(dtype), 1024 + block_of(dtype)};
}

// How a matrix's kernel wants rows.
RowKind row_kind(const Matrix& w) {
  return w.is_repacked() ? static_cast<const WeightMatrix&>(w).panel_ops().row_kind : RowKind::kF32;
}

// What it makes of them before it multiplies: see RowKind.
std::vector<float> rounded(const Matrix& w, const std::vector<float>& x) {
  if (row_kind(w) == RowKind::kF32) return x;
  std::vector<float> out(x.size());
  const auto in = static_cast<size_t>(w.in());
  for (size_t row = 0; row < x.size(); row += in) {
    for (size_t begin = 0; begin < in; begin += kBlockElements) {
      const size_t end = std::min(in, begin + kBlockElements);
      float top = 0;
      for (size_t k = begin; k < end; ++k) top = std::max(top, std::fabs(x[row + k]));
      for (size_t k = begin; k < end; ++k) {
        const float v = x[row + k];
        if (row_kind(w) == RowKind::kInt8) {
          out[row + k] = top == 0 ? 0.0F : top * (1.0F / 127) * std::nearbyint(v * (127 / top));
        } else {
          const auto u = std::bit_cast<uint32_t>(v);
          out[row + k] = std::bit_cast<float>((u + 0x7FFFU + ((u >> 16) & 1)) & 0xFFFF0000U);
        }
      }
    }
  }
  return out;
}

// The largest error that rounding may bring to a row's product with weights: half a step of int8,
// whose steps are as far apart as the largest of a block over 127; half of the last of BF16's
// eight bits.
double rounding_bound(const Matrix& w, const float* x, const float* weights) {
  if (row_kind(w) == RowKind::kF32) return 0;
  double bound = 0;
  for (int64_t begin = 0; begin < w.in(); begin += kBlockElements) {
    const int64_t end = std::min(w.in(), begin + kBlockElements);
    double top = 0;
    for (int64_t k = begin; k < end; ++k) top = std::max(top, std::fabs(double{x[k]}));
    for (int64_t k = begin; k < end; ++k) {
      const double step = row_kind(w) == RowKind::kInt8 ? top / 127 * (1 + 0x1p-15)
                                                        : std::fabs(double{x[k]}) * 0x1p-7;
      bound += step / 2 * std::fabs(double{weights[k]});
    }
  }
  return bound;
}

TEST_P(Matmul, TheMemoryThatPreparingTakesIsKnownBefore) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(5);
    const int64_t in = block_of(dtype) * 3, out = 41;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const int64_t bytes = repacked_bytes(dtype, out, in, isa());
    EXPECT_EQ(bytes > 0, prepare(m)->is_repacked()) << tensor::dtype_info(dtype).name;
    if (bytes == 0) continue;
    // Whole panels of 32 columns, and groups of two blocks of 32: what is above the file's size.
    const int64_t padded = 64 * ((in + 63) / 64 * 64) * tensor::dtype_info(dtype).block_bytes /
                           tensor::dtype_info(dtype).block_elements;
    EXPECT_GE(bytes, out * in * tensor::dtype_info(dtype).block_bytes /
                         tensor::dtype_info(dtype).block_elements);
    EXPECT_LE(bytes, padded * 108 / 100) << tensor::dtype_info(dtype).name;
  }
}

// A product with the identity gives the weights themselves: decoders must agree, in the kernel of
// few rows and in that of many. To the last bit where the identity's 1 is not rounded to int8,
// whose 127 steps of 1/127 and mins leave some roundings.
TEST_P(Matmul, DecodesEveryFormatExactly) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(static_cast<uint64_t>(dtype));
    const int64_t in = block_of(dtype) == 1 ? 45 : 256, out = 41;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
    const bool is_exact = row_kind(*w) != RowKind::kInt8;
    float largest = 0;
    for (const float v : m.values) largest = std::max(largest, std::fabs(v));
    const float tolerance = is_exact ? 0.0F : largest * 0x1p-21F;
    std::vector<float> identity(static_cast<size_t>(in * in));
    for (int64_t i = 0; i < in; ++i) identity[static_cast<size_t>(i * in + i)] = 1.0F;
    const std::vector<float> many = product(*w, identity, in, {}, one_);
    std::vector<float> few(many.size());
    for (int64_t i = 0; i < in; ++i) {
      matmul(*w, identity.data() + i * in, 1, few.data() + i * out, {}, one_);
    }
    for (int64_t i = 0; i < in; ++i) {
      for (int64_t o = 0; o < out; ++o) {
        const auto at = static_cast<size_t>(i * out + o);
        ASSERT_NEAR(many[at], m.values[static_cast<size_t>(o * in + i)], tolerance)
            << tensor::dtype_info(dtype).name << " element " << i << " of row " << o;
        ASSERT_EQ(few[at], many[at]) << tensor::dtype_info(dtype).name;
      }
    }
  }
}

struct Expected {
  double value;
  double size;  // of the terms
};

Expected expected_product(const float* x, const float* weights, int64_t in, double bias) {
  Expected e = {bias, std::fabs(bias)};
  double top = 0, total = 0;
  for (int64_t k = 0; k < in; ++k) {
    e.value += double{x[k]} * double{weights[k]};
    e.size += std::fabs(double{x[k]} * double{weights[k]});
    top = std::max(top, std::fabs(double{weights[k]}));
    total += std::fabs(double{x[k]});
  }
  // Panels add the quants' part and the min's apart, each of the size of the largest weights.
  e.size += 2 * top * total;
  return e;
}

// Against sums in double, of the rounded rows: a sum of k products, k / 8 of them in a lane or a
// block, is off by at most (k / 8 + 8) * 2^-24 of its terms' size. And of the rows as they are:
// what rounding may change comes on top.
TEST_P(Matmul, MatchesDoublePrecision) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(100 + static_cast<uint64_t>(dtype));
    for (const int64_t in : lengths(dtype)) {
      for (const int64_t out : {1, 3, 18, 65}) {
        const TestMatrix m = random_matrix(rng, dtype, out, in);
        const auto w = prepare(m);
        for (const int64_t n : {1, 2, 5, 13}) {
          const std::vector<float> x = random_floats(rng, n * in);
          const std::vector<float> seen = rounded(*w, x);
          const std::vector<float> bias = random_floats(rng, out);
          const std::vector<float> y = product(*w, x, n, bias, two_);
          for (int64_t i = 0; i < n * out; ++i) {
            const int64_t row = i / out * in, col = i % out;
            const float* weights = m.values.data() + col * in;
            const double b = double{bias[static_cast<size_t>(col)]};
            const Expected of_seen = expected_product(seen.data() + row, weights, in, b);
            const double bound = static_cast<double>(in / 8 + 8) * 0x1p-24 * of_seen.size;
            const double got = y[static_cast<size_t>(i)];
            ASSERT_NEAR(got, of_seen.value, bound) << tensor::dtype_info(dtype).name << " " << out
                                                   << " x " << in << ", " << n << " rows";
            ASSERT_NEAR(got, expected_product(x.data() + row, weights, in, b).value,
                        bound + rounding_bound(*w, x.data() + row, weights));
          }
        }
      }
    }
  }
}

// A row with a NaN or an infinity gives no numbers, and leaves its neighbours alone; a zero row
// gives the bias, and numbers too small for a scale count as zero.
TEST_P(Matmul, SpecialValues) {
  for (const DType dtype :
       {DType::kF32, DType::kF16, DType::kBF16, DType::kQ8_0, DType::kQ4_K, DType::kQ6_K}) {
    Rng rng(150);
    const int64_t in = 256, out = 7, n = 5;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
    std::vector<float> x = random_floats(rng, n * in);
    const std::vector<float> bias = random_floats(rng, out);
    const std::vector<float> before = product(*w, x, n, bias, one_);
    for (const float odd : {NAN, INFINITY, -INFINITY}) {
      for (const int64_t at : {0, 17, 31, 40}) {
        std::vector<float> with = x;
        with[static_cast<size_t>(2 * in + at)] = odd;
        const std::vector<float> y = product(*w, with, n, bias, one_);
        for (int64_t i = 0; i < n * out; ++i) {
          const auto k = static_cast<size_t>(i);
          if (i / out == 2) {
            ASSERT_FALSE(std::isfinite(y[k])) << tensor::dtype_info(dtype).name << " " << odd;
          } else {
            ASSERT_EQ(y[k], before[k]);
          }
        }
      }
    }
    for (const float small : {0.0F, 1e-33F, 1e-42F}) {
      std::fill_n(x.begin(), in, small);
      const std::vector<float> y = product(*w, x, n, bias, one_);
      for (size_t i = 0; i < static_cast<size_t>(out); ++i) {
        ASSERT_NEAR(y[i], bias[i], 1e-28) << tensor::dtype_info(dtype).name;
      }
    }
  }
}

// A processor's habits, whatever this one's are.
class Habits {
 public:
  explicit Habits(bool tall) {
    set_core_habits(
        {.past_second_level = !tall, .fetch_distance = tall ? 8192 : 4096, .tall_tiles = tall});
  }
  ~Habits() { set_core_habits(before_); }
  Habits(const Habits&) = delete;
  Habits& operator=(const Habits&) = delete;

 private:
  const CoreHabits before_ = core_habits();
};

// The promise of determinism: a row's bits do not depend on the rows beside it, on its place among
// them, or on the team.
TEST_P(Matmul, RowsAreBitEqualInAnyCompany) {
  constexpr int64_t kMost = 101;
  for (const DType dtype : kAllDTypes) {
    Rng rng(200 + static_cast<uint64_t>(dtype));
    const int64_t in = lengths(dtype).back(), out = 37;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
    const std::vector<float> x = random_floats(rng, kMost * in);
    const std::vector<float> bias = random_floats(rng, out);
    std::vector<float> alone(static_cast<size_t>(kMost * out));
    for (int64_t i = 0; i < kMost; ++i) {
      matmul(*w, x.data() + i * in, 1, alone.data() + i * out, bias, one_);
    }
    for (const bool tall : {false, true}) {
      const Habits habits(tall);
      for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 16, 33, 101}) {
        for (ThreadTeam* team : {&one_, &two_, &three_}) {
          const std::vector<float> y = product(*w, x, n, bias, *team);
          ASSERT_EQ(bits(y), bits(alone.data(), n * out))
              << tensor::dtype_info(dtype).name << " " << n << " rows, team of " << team->size()
              << (tall ? ", tall tiles" : "");
        }
      }
    }
    // The last rows first: other places, other tiles.
    const std::vector<float> tail(x.begin() + 90 * in, x.end());
    ASSERT_EQ(bits(product(*w, tail, kMost - 90, bias, two_)),
              bits(alone.data() + 90 * out, (kMost - 90) * out));
  }
}

// Experts with no row, one, and more than a tile; rows of several experts and of none.
TEST_P(Matmul, RoutedRowsEqualEachExpertsOwnProduct) {
  constexpr int64_t kIn = 256, kHidden = 64, kExperts = 5, kRows = 40;
  const std::vector<int32_t> first = {0, 1, 1, 24, 27, 38};
  Rng rng(300);
  std::vector<int32_t> rows(static_cast<size_t>(first.back()));
  for (int32_t& row : rows) row = static_cast<int32_t>(rng.below(kRows));
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0, DType::kQ5_1}) {
    std::vector<TestMatrix> stored;
    std::vector<std::unique_ptr<Matrix>> gates, ups, downs;
    const auto prepare_one = [&](DType type, int64_t out, int64_t in) {
      stored.push_back(random_matrix(rng, type, out, in));
      return prepare(stored.back());
    };
    for (int64_t e = 0; e < kExperts; ++e) {
      gates.push_back(prepare_one(dtype, kHidden, kIn));
      ups.push_back(prepare_one(DType::kQ8_0, kHidden, kIn));
      downs.push_back(prepare_one(dtype, 37, kHidden));
    }
    const std::vector<float> x = random_floats(rng, kRows * kIn);
    const auto entries = static_cast<size_t>(first.back());
    for (ThreadTeam* team : {&one_, &three_}) {
      std::vector<float> gate(entries * kHidden, NAN), up = gate, down(entries * 37, NAN);
      matmul_routed({{{.experts = gates, .y = gate.data()}, {.experts = ups, .y = up.data()}}},
                    x.data(), {first, rows}, *team);
      std::vector<float> expected_gate = gate, expected_up = up, expected_down = down;
      for (size_t e = 0; e < kExperts; ++e) {
        for (auto i = static_cast<size_t>(first[e]); i < static_cast<size_t>(first[e + 1]); ++i) {
          const float* row = x.data() + rows[i] * kIn;
          float* own_gate = expected_gate.data() + i * kHidden;
          float* own_up = expected_up.data() + i * kHidden;
          matmul(*gates[e], row, 1, own_gate, {}, one_);
          matmul(*ups[e], row, 1, own_up, {}, one_);
        }
      }
      ASSERT_EQ(bits(gate), bits(expected_gate)) << tensor::dtype_info(dtype).name;
      ASSERT_EQ(bits(up), bits(expected_up));
      for (size_t e = 0; e < kExperts; ++e) {
        for (auto i = static_cast<size_t>(first[e]); i < static_cast<size_t>(first[e + 1]); ++i) {
          matmul_gated({.w = downs[e].get(), .y = expected_down.data() + i * 37, .bias = {}},
                       Gate::kSilu, expected_gate.data() + i * kHidden, up.data() + i * kHidden, 1,
                       one_);
        }
      }
      matmul_gated_routed({.experts = downs, .y = down.data()}, Gate::kSilu, gate.data(), up.data(),
                          first, *team);
      ASSERT_EQ(bits(down), bits(expected_down)) << tensor::dtype_info(dtype).name;
    }
  }
}

// The three matrices of some units.
struct UnitShape {
  DType gate;
  DType up;
  DType down;
  int64_t in;
  int64_t hidden;
};

// One part of rows and several, columns that end in the middle of a task or a panel, two kinds of
// rows at once, and weights used as they are stored.
constexpr UnitShape kUnits[] = {
    {DType::kQ8_0, DType::kQ8_0, DType::kQ8_0, 2048, 96},
    {DType::kQ4_0, DType::kQ5_1, DType::kQ8_0, 96, 672},
    {DType::kQ4_K, DType::kQ6_K, DType::kQ6_K, 256, 256},
    {DType::kBF16, DType::kBF16, DType::kBF16, 70, 37},
    {DType::kBF16, DType::kQ8_0, DType::kBF16, 64, 101},
    {DType::kQ8_0, DType::kBF16, DType::kQ4_0, 64, 160},
    {DType::kF32, DType::kQ8_0, DType::kQ8_0, 64, 96},
};

TEST_P(Matmul, AUnitEqualsItsThreeProducts) {
  constexpr int64_t kOut = 33;
  for (const UnitShape& shape : kUnits) {
    Rng rng(320 + static_cast<uint64_t>(shape.gate));
    const TestMatrix stored[] = {random_matrix(rng, shape.gate, shape.hidden, shape.in),
                                 random_matrix(rng, shape.up, shape.hidden, shape.in),
                                 random_matrix(rng, shape.down, kOut, shape.hidden)};
    const auto gate = prepare(stored[0]), up = prepare(stored[1]), down = prepare(stored[2]);
    const std::vector<float> gate_bias = random_floats(rng, shape.hidden);
    const std::vector<float> down_bias = random_floats(rng, kOut);
    for (const int64_t n : {1, 16, 23, 200}) {
      const std::vector<float> x = random_floats(rng, n * shape.in);
      for (const Gate activation : {Gate::kSilu, Gate::kGelu}) {
        const auto hidden = static_cast<size_t>(n * shape.hidden);
        std::vector<float> a(hidden), b(hidden), expected(static_cast<size_t>(n * kOut), NAN);
        matmul(*gate, x.data(), n, a.data(), gate_bias, one_);
        matmul(*up, x.data(), n, b.data(), {}, one_);
        matmul_gated({.w = down.get(), .y = expected.data(), .bias = down_bias}, activation,
                     a.data(), b.data(), n, one_);
        for (ThreadTeam* team : {&one_, &three_}) {
          std::vector<float> y(expected.size(), NAN);
          matmul_unit({.gate = {.w = gate.get(), .y = a.data(), .bias = gate_bias},
                       .up = {.w = up.get(), .y = b.data(), .bias = {}},
                       .down = {.w = down.get(), .y = y.data(), .bias = down_bias}},
                      activation, x.data(), n, *team);
          ASSERT_EQ(bits(y), bits(expected))
              << tensor::dtype_info(shape.gate).name << " " << shape.hidden << ", " << n << " rows";
        }
      }
    }
  }
}

TEST_P(Matmul, RoutedUnitsEqualEachExpertsOwn) {
  constexpr int64_t kIn = 64, kHidden = 160, kOut = 37, kExperts = 5, kRows = 40;
  const std::vector<int32_t> first = {0, 1, 1, 64, 67, 98};
  Rng rng(340);
  std::vector<int32_t> rows(static_cast<size_t>(first.back()));
  for (int32_t& row : rows) row = static_cast<int32_t>(rng.below(kRows));
  const std::vector<float> x = random_floats(rng, kRows * kIn);
  const auto entries = static_cast<size_t>(first.back());
  for (const DType dtype : {DType::kF32, DType::kF16, DType::kBF16, DType::kQ4_0}) {
    std::vector<TestMatrix> stored;
    std::vector<std::unique_ptr<Matrix>> gates, ups, downs;
    const auto prepare_one = [&](int64_t out, int64_t in) {
      stored.push_back(random_matrix(rng, dtype, out, in));
      return prepare(stored.back());
    };
    for (int64_t e = 0; e < kExperts; ++e) {
      gates.push_back(prepare_one(kHidden, kIn));
      ups.push_back(prepare_one(kHidden, kIn));
      downs.push_back(prepare_one(kOut, kHidden));
    }
    std::vector<float> a(entries * kHidden), b(a), expected(entries * kOut, NAN);
    for (size_t e = 0; e < kExperts; ++e) {
      for (auto i = static_cast<size_t>(first[e]); i < static_cast<size_t>(first[e + 1]); ++i) {
        matmul_unit({.gate = {.w = gates[e].get(), .y = a.data(), .bias = {}},
                     .up = {.w = ups[e].get(), .y = b.data(), .bias = {}},
                     .down = {.w = downs[e].get(), .y = expected.data() + i * kOut, .bias = {}}},
                    Gate::kSilu, x.data() + rows[i] * kIn, 1, one_);
      }
    }
    for (ThreadTeam* team : {&one_, &three_}) {
      std::vector<float> y(expected.size(), NAN);
      matmul_unit_routed({.gate = {.experts = gates, .y = a.data()},
                          .up = {.experts = ups, .y = b.data()},
                          .down = {.experts = downs, .y = y.data()}},
                         Gate::kSilu, x.data(), {first, rows}, *team);
      ASSERT_EQ(bits(y), bits(expected)) << tensor::dtype_info(dtype).name;
    }
  }
}

// Panels of two kinds, and weights used as they are stored.
TEST_P(Matmul, ProductsOfTheSameRowsEqualEachAlone) {
  Rng rng(350);
  const int64_t in = 512;
  std::vector<TestMatrix> stored;
  std::vector<std::unique_ptr<Matrix>> matrices;
  for (const DType dtype : {DType::kQ4_K, DType::kBF16, DType::kF32, DType::kQ5_0}) {
    const auto out = static_cast<int64_t>(20 + 30 * stored.size());
    stored.push_back(random_matrix(rng, dtype, out, in));
    matrices.push_back(prepare(stored.back()));
  }
  for (const int64_t n : {1, 3, 40}) {
    const std::vector<float> x = random_floats(rng, n * in);
    std::vector<Product> products;
    std::vector<std::vector<float>> biases, results;
    for (const auto& w : matrices) {
      biases.push_back(w->out() == 50 ? std::vector<float>() : random_floats(rng, w->out()));
      results.emplace_back(static_cast<size_t>(n * w->out()), NAN);
    }
    for (size_t i = 0; i < matrices.size(); ++i) {
      products.push_back({matrices[i].get(), results[i].data(), biases[i]});
    }
    matmul_each(products, x.data(), n, two_);
    for (size_t i = 0; i < matrices.size(); ++i) {
      ASSERT_EQ(bits(results[i]), bits(product(*matrices[i], x, n, biases[i], one_)));
    }
  }
}

TEST_P(Matmul, AnAdoptedMatrixIsThePreparedOne) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(360);
    const int64_t in = block_of(dtype) * 3, out = 41;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
    if (!w->is_repacked()) {
      EXPECT_TRUE(w->repacked().empty());
      EXPECT_FALSE(adopt_matrix(m.view, isa(), w->repacked())) << "there is nothing to adopt";
      continue;
    }
    const std::span<const std::byte> panels = w->repacked();
    ASSERT_EQ(std::ssize(panels), repacked_bytes(dtype, out, in, isa()));
    const auto adopted = adopt_matrix(m.view, isa(), panels);
    ASSERT_TRUE(adopted) << adopted.error().message();
    EXPECT_EQ((*adopted)->repacked().data(), panels.data()) << "nothing is copied";
    const std::vector<float> x = random_floats(rng, 3 * in);
    EXPECT_EQ(bits(product(**adopted, x, 3, {}, two_)), bits(product(*w, x, 3, {}, one_)));
    EXPECT_FALSE(adopt_matrix(m.view, isa(), panels.first(panels.size() - 64)));
  }
}

TEST_P(Matmul, UnalignedActivations) {
  Rng rng(400);
  const TestMatrix m = random_matrix(rng, DType::kQ8_0, 10, 96);
  const auto w = prepare(m);
  const std::vector<float> x = random_floats(rng, 9 * 96);
  std::vector<float> shifted(x.size() + 1), out(9 * 10 + 1);
  std::copy(x.begin(), x.end(), shifted.begin() + 1);
  matmul(*w, shifted.data() + 1, 9, out.data() + 1, {}, one_);
  EXPECT_EQ(bits(out.data() + 1, 90), bits(product(*w, x, 9, {}, one_)));
}

TEST(Matrix, RefusesWhatIsNotAMatrix) {
  ThreadTeam team(1);
  Rng rng(1);
  TestMatrix m = random_matrix(rng, DType::kQ4_K, 2, 256);
  m.view.shape = {2, 16, 16};
  EXPECT_EQ(prepare_matrix(m.view, Isa::kReference, team).error().code(), Code::kInvalidArgument);
  m.view.shape = {4, 128};
  EXPECT_EQ(prepare_matrix(m.view, Isa::kReference, team).error().code(), Code::kInvalidArgument);
}

TEST(Embedding, GivesScaledRows) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(500);
    const TestMatrix m = random_matrix(rng, dtype, 5, 256);
    const std::vector<int32_t> ids = {4, 0, 4};
    std::vector<float> rows(3 * 256);
    embed_rows(m.view, ids, 2.0F, rows.data());
    const auto all = to_float(m.view);
    ASSERT_TRUE(all);
    ASSERT_EQ(bits(*all), bits(m.values));
    for (size_t i = 0; i < rows.size(); ++i) {
      const size_t id = static_cast<size_t>(ids[i / 256]);
      ASSERT_EQ(rows[i], 2.0F * m.values[id * 256 + i % 256]);
    }
  }
}

}  // namespace
}  // namespace sluice::kernels
