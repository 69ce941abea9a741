#include "formats/float_convert.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "base/check.h"

namespace sluice::formats {
namespace {

float from_half(uint16_t bits) {
  const int exponent = (bits >> 10) & 31;
  const int mantissa = bits & 1023;
  float value = 0.0f;
  if (exponent == 31) {
    value = mantissa == 0 ? INFINITY : NAN;
  } else if (exponent == 0) {
    value = std::ldexp(static_cast<float>(mantissa), -24);
  } else {
    value = std::ldexp(static_cast<float>(mantissa + 1024), exponent - 25);
  }
  return (bits & 0x8000) != 0 ? -value : value;
}

float from_bfloat(uint16_t bits) { return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16); }

}  // namespace

void to_floats(tensor::DType dtype, std::span<const std::byte> bytes, std::span<float> out) {
  if (dtype == tensor::DType::kF32) {
    SLUICE_CHECK(bytes.size() == out.size() * 4, "one F32 for each value");
    std::memcpy(out.data(), bytes.data(), bytes.size());
    return;
  }
  SLUICE_CHECK(dtype == tensor::DType::kF16 || dtype == tensor::DType::kBF16, "a plain type");
  SLUICE_CHECK(bytes.size() == out.size() * 2, "two bytes for each value");
  for (size_t i = 0; i < out.size(); ++i) {
    uint16_t bits = 0;
    std::memcpy(&bits, bytes.data() + i * 2, 2);
    out[i] = dtype == tensor::DType::kF16 ? from_half(bits) : from_bfloat(bits);
  }
}

}  // namespace sluice::formats
