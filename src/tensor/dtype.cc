#include "tensor/dtype.h"

#include <fmt/format.h>

#include <array>
#include <iterator>
#include <string>

#include "base/check.h"
#include "tensor/checked.h"

namespace sluice::tensor {
namespace {

// Block layouts: ggml-org/ggml docs/gguf.md. A block's bytes are its quants and its scales.
constexpr std::array<DTypeInfo, 15> kTypes = {{
    {DType::kF32, "F32", 1, 4},
    {DType::kF16, "F16", 1, 2},
    {DType::kQ4_0, "Q4_0", 32, 2 + 16},
    {DType::kQ4_1, "Q4_1", 32, 4 + 16},
    {DType::kQ5_0, "Q5_0", 32, 2 + 4 + 16},
    {DType::kQ5_1, "Q5_1", 32, 4 + 4 + 16},
    {DType::kQ8_0, "Q8_0", 32, 2 + 32},
    {DType::kQ2_K, "Q2_K", 256, 16 + 64 + 4},
    {DType::kQ3_K, "Q3_K", 256, 32 + 64 + 12 + 2},
    {DType::kQ4_K, "Q4_K", 256, 4 + 12 + 128},
    {DType::kQ5_K, "Q5_K", 256, 4 + 12 + 32 + 128},
    {DType::kQ6_K, "Q6_K", 256, 128 + 64 + 16 + 2},
    {DType::kIQ4_NL, "IQ4_NL", 32, 2 + 16},
    {DType::kIQ4_XS, "IQ4_XS", 256, 2 + 2 + 4 + 128},
    {DType::kBF16, "BF16", 1, 2},
}};

const DTypeInfo* find(uint32_t id) {
  for (const DTypeInfo& info : kTypes) {
    if (static_cast<uint32_t>(info.dtype) == id) return &info;
  }
  return nullptr;
}

// Types that other programs write and this one cannot read, so that a refusal can name them.
std::string_view foreign_name(uint32_t id) {
  switch (id) {
    case 9:
      return "Q8_1";
    case 15:
      return "Q8_K";
    case 16:
      return "IQ2_XXS";
    case 17:
      return "IQ2_XS";
    case 18:
      return "IQ3_XXS";
    case 19:
      return "IQ1_S";
    case 21:
      return "IQ3_S";
    case 22:
      return "IQ2_S";
    case 24:
      return "I8";
    case 25:
      return "I16";
    case 26:
      return "I32";
    case 27:
      return "I64";
    case 28:
      return "F64";
    case 29:
      return "IQ1_M";
    case 34:
      return "TQ1_0";
    case 35:
      return "TQ2_0";
    case 39:
      return "MXFP4";
    default:
      return "";
  }
}

}  // namespace

const DTypeInfo& dtype_info(DType dtype) {
  const DTypeInfo* info = find(static_cast<uint32_t>(dtype));
  SLUICE_CHECK(info != nullptr, "a DType is made by dtype_from_gguf() or by name");
  return *info;
}

Result<DType> dtype_from_gguf(uint32_t id) {
  if (const DTypeInfo* info = find(id)) return info->dtype;
  std::string known;
  for (const DTypeInfo& info : kTypes) {
    fmt::format_to(std::back_inserter(known), "{}{}", known.empty() ? "" : " ", info.name);
  }
  const std::string_view name = foreign_name(id);
  return fail(Code::kUnimplemented,
              fmt::format("element type {}{}{} is not supported; supported are {}", id,
                          name.empty() ? "" : " ", name, known));
}

Result<uint64_t> stored_bytes(DType dtype, const Shape& shape) {
  const DTypeInfo& info = dtype_info(dtype);
  if (shape.empty()) return invalid("a tensor needs at least one dimension; found none");
  uint64_t elements = 1;
  for (const int64_t d : shape) {
    if (d <= 0) return invalid(fmt::format("dimension {} found; expected at least 1", d));
    const auto product = checked_mul(elements, static_cast<uint64_t>(d));
    if (!product || *product > static_cast<uint64_t>(INT64_MAX)) {
      return invalid("the product of the dimensions is beyond 64 bits");
    }
    elements = *product;
  }
  if (shape.back() % info.block_elements != 0) {
    return invalid(fmt::format("rows of {} elements do not divide into {} blocks of {}",
                               shape.back(), info.name, info.block_elements));
  }
  const auto bytes = checked_mul(elements / static_cast<uint64_t>(info.block_elements),
                                 static_cast<uint64_t>(info.block_bytes));
  if (!bytes || *bytes > static_cast<uint64_t>(INT64_MAX)) {
    return invalid("the tensor's size is beyond 64 bits");
  }
  return *bytes;
}

}  // namespace sluice::tensor
