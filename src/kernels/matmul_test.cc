#include <cmath>

#include "kernels/kernels_testing.h"

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

// A product with the identity gives the weights themselves: decoders must agree to the last bit,
// in the kernel of few rows and in that of many.
TEST_P(Matmul, DecodesEveryFormatExactly) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(static_cast<uint64_t>(dtype));
    const int64_t in = block_of(dtype) == 1 ? 45 : 256, out = 9;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
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
        ASSERT_EQ(many[at], m.values[static_cast<size_t>(o * in + i)])
            << tensor::dtype_info(dtype).name << " element " << i << " of row " << o;
        ASSERT_EQ(few[at], many[at]) << tensor::dtype_info(dtype).name;
      }
    }
  }
}

// Against sums in double. The bound is that of a sum of k rounded products, k / 8 of them in a
// lane: (k / 8 + 8) * 2^-24 * sum |w||x|.
TEST_P(Matmul, MatchesDoublePrecision) {
  for (const DType dtype : kAllDTypes) {
    Rng rng(100 + static_cast<uint64_t>(dtype));
    for (const int64_t in : lengths(dtype)) {
      for (const int64_t out : {1, 3, 18}) {
        const TestMatrix m = random_matrix(rng, dtype, out, in);
        const auto w = prepare(m);
        for (const int64_t n : {1, 2, 5, 13}) {
          const std::vector<float> x = random_floats(rng, n * in);
          const std::vector<float> bias = random_floats(rng, out);
          const std::vector<float> y = product(*w, x, n, bias, two_);
          for (int64_t i = 0; i < n * out; ++i) {
            double sum = double{bias[static_cast<size_t>(i % out)]}, size = std::fabs(sum);
            for (int64_t k = 0; k < in; ++k) {
              const double term = double{x[static_cast<size_t>(i / out * in + k)]} *
                                  double{m.values[static_cast<size_t>(i % out * in + k)]};
              sum += term;
              size += std::fabs(term);
            }
            const double bound = static_cast<double>(in / 8 + 8) * 0x1p-24 * size;
            ASSERT_NEAR(y[static_cast<size_t>(i)], sum, bound)
                << tensor::dtype_info(dtype).name << " " << out << " x " << in << ", " << n
                << " rows";
          }
        }
      }
    }
  }
}

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
    for (const int64_t n : {1, 2, 3, 4, 5, 6, 7, 8, 16, 33, 101}) {
      for (ThreadTeam* team : {&one_, &two_, &three_}) {
        const std::vector<float> y = product(*w, x, n, bias, *team);
        ASSERT_EQ(bits(y), bits(alone.data(), n * out))
            << tensor::dtype_info(dtype).name << " " << n << " rows, team of " << team->size();
      }
    }
    // The last rows first: other places, other tiles.
    const std::vector<float> tail(x.begin() + 90 * in, x.end());
    ASSERT_EQ(bits(product(*w, tail, kMost - 90, bias, two_)),
              bits(alone.data() + 90 * out, (kMost - 90) * out));
  }
}

TEST_P(Matmul, NamedRowsEqualTheWholeProduct) {
  for (const DType dtype : {DType::kBF16, DType::kQ4_K}) {
    Rng rng(300);
    const int64_t in = 512, out = 21, n = 40;
    const TestMatrix m = random_matrix(rng, dtype, out, in);
    const auto w = prepare(m);
    const std::vector<float> x = random_floats(rng, n * in);
    const std::vector<float> whole = product(*w, x, n, {}, one_);
    for (const std::vector<int32_t>& rows :
         {std::vector<int32_t>{}, {7}, {39, 0, 12}, {1, 2, 3, 5, 8, 13, 21, 34, 30, 31, 32}}) {
      std::vector<float> y(static_cast<size_t>(n * out), -5.0F);
      std::vector<float> expected = y;
      matmul_rows(*w, x.data(), rows, y.data(), two_);
      for (const int32_t row : rows) {
        std::copy_n(whole.begin() + row * out, out, expected.begin() + row * out);
      }
      ASSERT_EQ(bits(y), bits(expected));
    }
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
