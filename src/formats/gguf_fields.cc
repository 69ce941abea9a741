#include "formats/gguf_fields.h"

#include <fmt/format.h>

#include <cmath>
#include <cstring>
#include <iterator>

#include "base/check.h"
#include "formats/byte_reader.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

template <typename T>
T element(const GgufValue& value, uint64_t index) {
  T out;
  std::memcpy(&out, value.bytes.data() + index * sizeof(T), sizeof(T));
  return out;
}

// Strings in order; lengths were checked by parse_gguf().
class StringWalker {
 public:
  explicit StringWalker(const GgufValue& value) : in_(value.bytes) {}
  std::string_view next() {
    const auto text = in_.string("a string", UINT64_MAX);
    SLUICE_CHECK(text.has_value(), "parse_gguf() walked these strings before");
    return *text;
  }

 private:
  ByteReader in_;
};

std::string kind(const GgufValue& value) {
  return fmt::format("{}{}", value.array ? "an array of " : "", gguf_type_name(value.type));
}

}  // namespace

bool GgufFields::has(std::string_view key) const { return find(key) != nullptr; }

const GgufValue* GgufFields::find(std::string_view key) const {
  if (problem_) return nullptr;
  return file_.find(fmt::format("{}{}", prefix_, key));
}

const GgufValue* GgufFields::find_array(std::string_view key, size_t max_count) {
  const GgufValue* value = find(key);
  if (value == nullptr) return nullptr;
  if (!value->array) {
    refuse(key, fmt::format("expected an array; found {}", kind(*value)));
    return nullptr;
  }
  if (value->count > max_count) {
    refuse(key, fmt::format("at most {} values are read; found {}", max_count, value->count));
    return nullptr;
  }
  return value;
}

void GgufFields::refuse(std::string_view key, std::string why) {
  if (!problem_) {
    problem_ = Status(Code::kInvalidArgument, fmt::format("{}{}: {}", prefix_, key, why));
  }
}

Outcome GgufFields::outcome() const {
  if (problem_) return std::unexpected(*problem_);
  return {};
}

std::optional<int64_t> GgufFields::element_as_integer(const GgufValue& value, uint64_t index) {
  switch (value.type) {
    case GgufType::kU8:
      return element<uint8_t>(value, index);
    case GgufType::kI8:
      return element<int8_t>(value, index);
    case GgufType::kU16:
      return element<uint16_t>(value, index);
    case GgufType::kI16:
      return element<int16_t>(value, index);
    case GgufType::kU32:
      return element<uint32_t>(value, index);
    case GgufType::kI32:
      return element<int32_t>(value, index);
    case GgufType::kI64:
      return element<int64_t>(value, index);
    case GgufType::kU64: {
      const auto wide = element<uint64_t>(value, index);
      return wide > INT64_MAX ? INT64_MAX : static_cast<int64_t>(wide);
    }
    default:
      return std::nullopt;
  }
}

std::optional<double> GgufFields::element_as_number(const GgufValue& value, uint64_t index) {
  if (value.type == GgufType::kF32) return element<float>(value, index);
  if (value.type == GgufType::kF64) return element<double>(value, index);
  return std::nullopt;
}

std::optional<int> GgufFields::integer(std::string_view key, IntRange range) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto first = value->count > 0 ? element_as_integer(*value, 0) : std::nullopt;
  if (!first) {
    refuse(key, fmt::format("expected an integer; found {}", kind(*value)));
    return std::nullopt;
  }
  for (uint64_t i = 1; i < value->count; ++i) {
    if (element_as_integer(*value, i) != first) {
      refuse(key, "layers that differ from each other are not supported");
      return std::nullopt;
    }
  }
  if (*first < range.low || *first > range.high) {
    refuse(key, fmt::format("expected {} to {}; found {}", range.low, range.high, *first));
    return std::nullopt;
  }
  return static_cast<int>(*first);
}

int GgufFields::required_integer(std::string_view key, IntRange range) {
  if (find(key) == nullptr) refuse(key, "expected in the file's metadata; it is missing");
  return integer(key, range).value_or(static_cast<int>(range.low));
}

std::optional<float> GgufFields::number(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  const auto number = value->array ? std::nullopt : element_as_number(*value, 0);
  if (!number) {
    refuse(key, fmt::format("expected a float; found {}", kind(*value)));
    return std::nullopt;
  }
  const auto narrow = static_cast<float>(*number);
  if (!std::isfinite(narrow)) {
    refuse(key, fmt::format("expected a finite number; found {}", *number));
    return std::nullopt;
  }
  return narrow;
}

std::optional<bool> GgufFields::boolean(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->array || value->type != GgufType::kBool) {
    refuse(key, fmt::format("expected a bool; found {}", kind(*value)));
    return std::nullopt;
  }
  return element<uint8_t>(*value, 0) != 0;
}

std::optional<std::string> GgufFields::text(std::string_view key) {
  const GgufValue* value = find(key);
  if (value == nullptr) return std::nullopt;
  if (value->array || value->type != GgufType::kString) {
    refuse(key, fmt::format("expected a string; found {}", kind(*value)));
    return std::nullopt;
  }
  return std::string(StringWalker(*value).next());
}

std::vector<std::string> GgufFields::texts(std::string_view key, size_t max_count,
                                           size_t max_bytes) {
  std::vector<std::string> out;
  const GgufValue* value = find_array(key, max_count);
  if (value == nullptr) return out;
  if (value->type != GgufType::kString) {
    refuse(key, fmt::format("expected an array of string; found {}", kind(*value)));
    return out;
  }
  out.reserve(value->count);
  StringWalker strings(*value);
  for (uint64_t i = 0; i < value->count; ++i) {
    const std::string_view text = strings.next();
    if (text.size() > max_bytes) {
      refuse(key, fmt::format("string {} has {} bytes; at most {}", i, text.size(), max_bytes));
      return {};
    }
    out.emplace_back(text);
  }
  return out;
}

std::vector<float> GgufFields::numbers(std::string_view key, size_t max_count) {
  std::vector<float> out;
  const GgufValue* value = find_array(key, max_count);
  if (value == nullptr) return out;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number = element_as_number(*value, i);
    if (!number || std::isnan(*number)) {
      refuse(key, fmt::format("value {} is no number; the array is of {}", i,
                              gguf_type_name(value->type)));
      return {};
    }
    out.push_back(static_cast<float>(*number));
  }
  return out;
}

std::vector<int32_t> GgufFields::integers(std::string_view key, size_t max_count) {
  std::vector<int32_t> out;
  const GgufValue* value = find_array(key, max_count);
  if (value == nullptr) return out;
  out.reserve(value->count);
  for (uint64_t i = 0; i < value->count; ++i) {
    const auto number = element_as_integer(*value, i);
    if (!number || *number < INT32_MIN || *number > INT32_MAX) {
      refuse(key, fmt::format("value {} is no 32-bit integer; the array is of {}", i,
                              gguf_type_name(value->type)));
      return {};
    }
    out.push_back(static_cast<int32_t>(*number));
  }
  return out;
}

std::optional<std::vector<bool>> GgufFields::pattern(std::string_view key, int layers) {
  const GgufValue* value = find(key);
  if (value == nullptr || !value->array) return std::nullopt;
  std::vector<bool> out;
  const bool boolean = value->type == GgufType::kBool;
  if (value->count < static_cast<uint64_t>(layers) ||
      (!boolean && !element_as_integer(*value, 0))) {
    refuse(key, fmt::format("expected an array of {} booleans; found {} of {}", layers,
                            value->count, gguf_type_name(value->type)));
    return std::nullopt;
  }
  for (int i = 0; i < layers; ++i) {
    const auto at = static_cast<uint64_t>(i);
    out.push_back(boolean ? element<uint8_t>(*value, at) != 0
                          : element_as_integer(*value, at) != 0);
  }
  return out;
}

std::vector<uint8_t> GgufFields::bytes(std::string_view key) {
  const GgufValue* value = find_array(key, limits::kMaxStringBytes);
  if (value == nullptr) return {};
  if (value->type != GgufType::kU8 && value->type != GgufType::kI8) {
    refuse(key, fmt::format("expected an array of u8; found {}", kind(*value)));
    return {};
  }
  const auto* first = reinterpret_cast<const uint8_t*>(value->bytes.data());
  return {first, first + value->bytes.size()};
}

}  // namespace sluice::formats
