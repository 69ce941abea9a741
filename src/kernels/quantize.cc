#include "kernels/quantize.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/blocks.h"
#include "kernels/half.h"
#include "kernels/isa.h"

namespace sluice::kernels {
namespace {

using tensor::DType;

// Blocks whose largest element is below this are stored as zeros: no float16 scale is so small.
constexpr float kSmallest = 1e-15F;

void set_k_scale_min(uint8_t* s, int j, int scale, int min) {
  if (j < 4) {
    s[j] = static_cast<uint8_t>(s[j] | scale);
    s[j + 4] = static_cast<uint8_t>(s[j + 4] | min);
    return;
  }
  s[j + 4] = static_cast<uint8_t>((scale & 15) | (min & 15) << 4);
  s[j - 4] = static_cast<uint8_t>(s[j - 4] | (scale >> 4) << 6);
  s[j] = static_cast<uint8_t>(s[j] | (min >> 4) << 6);
}

#include "kernels/quantize_blocks.inl"

using Encode = void (*)(DType, const float*, int64_t, std::byte*);

void encode_plain(DType dtype, const float* src, int64_t count, std::byte* out) {
  encode_any(dtype, src, count, out);
}

#if defined(__x86_64__)
[[gnu::target("avx2")]] void encode_avx2(DType dtype, const float* src, int64_t count,
                                         std::byte* out) {
  encode_any(dtype, src, count, out);
}

[[gnu::target("avx512f,avx512bw,avx512dq,avx512vl")]] void encode_avx512(DType dtype,
                                                                         const float* src,
                                                                         int64_t count,
                                                                         std::byte* out) {
  encode_any(dtype, src, count, out);
}
#endif

Encode encode_for(Isa isa) {
  switch (isa) {
    case Isa::kReference:
#if defined(__aarch64__)
    case Isa::kNeon:  // which the compiler uses everywhere
    case Isa::kNeonDotprod:
    case Isa::kNeonI8mm:
    case Isa::kNeonBf16:
#endif
      return encode_plain;
#if defined(__x86_64__)
    case Isa::kAvx2:
    case Isa::kAvxVnni:
      return encode_avx2;
    case Isa::kAvx512:
    case Isa::kAvx512Vnni:
    case Isa::kAvx512Bf16:
      return encode_avx512;
#endif
    default:
      break;
  }
  SLUICE_CHECK(false, "the instruction set was checked before");
}

void narrow(const float* src, int64_t count, uint16_t (*convert)(float), std::byte* out) {
  for (int64_t i = 0; i < count; ++i) {
    const uint16_t bits = convert(src[i]);
    std::memcpy(out + 2 * i, &bits, sizeof bits);
  }
}

}  // namespace

bool can_quantize(DType dtype) {
  switch (dtype) {
    case DType::kF32:
    case DType::kF16:
    case DType::kBF16:
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
    case DType::kQ4_K:
    case DType::kQ6_K:
      return true;
    default:
      return false;
  }
}

void quantize(DType dtype, const float* src, int64_t count, std::byte* out) {
  static const Isa isa = best_isa();
  quantize(dtype, src, count, out, isa);
}

void quantize(DType dtype, const float* src, int64_t count, std::byte* out, Isa isa) {
  SLUICE_CHECK(can_quantize(dtype), "the format has no quantizer");
  SLUICE_CHECK(count % tensor::dtype_info(dtype).block_elements == 0,
               "a row divides into the format's blocks");
  switch (dtype) {
    case DType::kF32:
      std::memcpy(out, src, static_cast<size_t>(count) * sizeof(float));
      return;
    case DType::kF16:
      return narrow(src, count, float_to_f16, out);
    case DType::kBF16:
      return narrow(src, count, float_to_bf16, out);
    default:
      encode_for(isa)(dtype, src, count, out);
  }
}

}  // namespace sluice::kernels
