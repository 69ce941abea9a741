// What the tests of this room share: seeded inputs, matrices of random legal blocks, and a fixture
// that runs a test once for each instruction set.
#pragma once

#include <gtest/gtest.h>

#include <bit>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/rng.h"
#include "base/thread_team.h"
#include "kernels/dequant.h"
#include "kernels/half.h"
#include "kernels/ops.h"

namespace sluice::kernels {

inline constexpr tensor::DType kAllDTypes[] = {
    tensor::DType::kF32,  tensor::DType::kF16,    tensor::DType::kBF16,  tensor::DType::kQ8_0,
    tensor::DType::kQ4_0, tensor::DType::kQ4_1,   tensor::DType::kQ5_0,  tensor::DType::kQ5_1,
    tensor::DType::kQ2_K, tensor::DType::kQ3_K,   tensor::DType::kQ4_K,  tensor::DType::kQ5_K,
    tensor::DType::kQ6_K, tensor::DType::kIQ4_NL, tensor::DType::kIQ4_XS};

inline std::vector<float> random_floats(Rng& rng, int64_t count, double range = 1.0) {
  std::vector<float> v(static_cast<size_t>(count));
  for (float& x : v) x = static_cast<float>((2 * rng.uniform() - 1) * range);
  return v;
}

// Bit patterns, so that -0 differs from 0 and equal NaNs are equal.
inline std::vector<uint32_t> bits(const float* p, int64_t count) {
  std::vector<uint32_t> v(static_cast<size_t>(count));
  if (count > 0) std::memcpy(v.data(), p, v.size() * sizeof(uint32_t));
  return v;
}
inline std::vector<uint32_t> bits(const std::vector<float>& x) {
  return bits(x.data(), static_cast<int64_t>(x.size()));
}

// Where a block holds float16 scales.
inline std::vector<size_t> half_offsets(tensor::DType dtype) {
  using tensor::DType;
  switch (dtype) {
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {0};
  }
}

// A matrix of random legal bytes that starts at an odd address, its exact float values, and a view.
struct TestMatrix {
  std::vector<std::byte> storage;
  std::vector<float> values;
  tensor::TensorView view;
};

inline TestMatrix random_matrix(Rng& rng, tensor::DType dtype, int64_t out, int64_t in) {
  const tensor::DTypeInfo& info = tensor::dtype_info(dtype);
  TestMatrix m;
  const int64_t blocks = out * in / info.block_elements;
  const auto size = static_cast<size_t>(blocks * info.block_bytes);
  m.storage.resize(size + 1);
  std::byte* at = m.storage.data() + 1;
  const auto put = [](std::byte* to, auto value) { std::memcpy(to, &value, sizeof value); };
  const auto next = [&](double range) {
    return static_cast<float>((2 * rng.uniform() - 1) * range);
  };
  for (int64_t i = 0; i < blocks; ++i, at += info.block_bytes) {
    if (dtype == tensor::DType::kF32) {
      put(at, next(1));
    } else if (dtype == tensor::DType::kF16) {
      put(at, float_to_f16(next(1)));
    } else if (dtype == tensor::DType::kBF16) {
      put(at, static_cast<uint16_t>(std::bit_cast<uint32_t>(next(1)) >> 16));
    } else {
      for (int64_t b = 0; b < info.block_bytes; ++b) at[b] = static_cast<std::byte>(rng.below(256));
      for (const size_t offset : half_offsets(dtype)) put(at + offset, float_to_f16(next(0.1)));
    }
  }
  m.values.resize(static_cast<size_t>(out * in));
  dequantize(dtype, m.storage.data() + 1, out * in, m.values.data());
  m.view = {dtype, {out, in}, std::span(m.storage).subspan(1)};
  return m;
}

// Set where the processor is emulated, some hundred times slower than one that is there.
inline bool is_emulated() { return std::getenv("SLUICE_EMULATED") != nullptr; }

class EveryIsa : public testing::TestWithParam<Isa> {
 protected:
  void SetUp() override {
    if (!isa_supported(GetParam())) {
      GTEST_SKIP() << "ISA " << isa_name(GetParam()) << " not supported by this processor";
    }
  }
  Isa isa() const { return GetParam(); }
};

inline std::string isa_test_name(const testing::TestParamInfo<Isa>& info) {
  return std::string(isa_name(info.param));
}

inline auto every_isa() { return testing::ValuesIn(built_isas()); }

}  // namespace sluice::kernels
