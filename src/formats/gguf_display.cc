#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "formats/byte_reader.h"
#include "formats/gguf_fields.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

constexpr uint64_t kShownElements = 6;

template <typename T>
std::string next_number(ByteReader& in) {
  return fmt::format("{}", in.number<T>("a value").value_or(T{}));
}

std::string next(ByteReader& in, GgufType type) {
  switch (type) {
    case GgufType::kU8:
      return next_number<uint8_t>(in);
    case GgufType::kI8:
      return fmt::format("{}", static_cast<int>(in.number<int8_t>("a value").value_or(0)));
    case GgufType::kU16:
      return next_number<uint16_t>(in);
    case GgufType::kI16:
      return next_number<int16_t>(in);
    case GgufType::kU32:
      return next_number<uint32_t>(in);
    case GgufType::kI32:
      return next_number<int32_t>(in);
    case GgufType::kF32:
      return next_number<float>(in);
    case GgufType::kBool:
      return in.number<uint8_t>("a value").value_or(0) != 0 ? "true" : "false";
    case GgufType::kU64:
      return next_number<uint64_t>(in);
    case GgufType::kI64:
      return next_number<int64_t>(in);
    case GgufType::kF64:
      return next_number<double>(in);
    case GgufType::kString:
      return printable(in.string("a value", UINT64_MAX).value_or(""));
    case GgufType::kArray:
      break;
  }
  return "";
}

}  // namespace

std::string display(const GgufValue& value) {
  ByteReader in(value.bytes);
  if (!value.array) return next(in, value.type);
  std::string out = fmt::format("[{} {}]", value.count, gguf_type_name(value.type));
  for (uint64_t i = 0; i < std::min(value.count, kShownElements); ++i) {
    fmt::format_to(std::back_inserter(out), "{}{}", i == 0 ? " " : ", ", next(in, value.type));
  }
  if (value.count > kShownElements) out += ", …";
  return out;
}

}  // namespace sluice::formats
