// ByteReader: a cursor over a file's bytes. Nothing is read past the end; numbers are little
// endian.
#pragma once

#include <fmt/format.h>

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

#include "base/status.h"

namespace sluice::formats {

static_assert(std::endian::native == std::endian::little, "files are read as they lie in memory");

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  uint64_t position() const { return position_; }
  uint64_t left() const { return bytes_.size() - position_; }

  // `what` stands in the error: "the version".
  template <typename T>
  Result<T> number(std::string_view what) {
    SLUICE_ASSIGN_OR_RETURN(const std::span<const std::byte> bytes, take(sizeof(T), what));
    T value;
    std::memcpy(&value, bytes.data(), sizeof(T));
    return value;
  }

  Result<std::span<const std::byte>> take(uint64_t count, std::string_view what) {
    if (count > left()) {
      return fail(Code::kDataLoss,
                  fmt::format("expected {} bytes of {} at offset {}; the file has {} left", count,
                              what, position_, left()));
    }
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }

  // A 64-bit length and that many bytes.
  Result<std::string_view> string(std::string_view what, uint64_t max_bytes) {
    SLUICE_ASSIGN_OR_RETURN(const uint64_t length, number<uint64_t>(what));
    if (length > max_bytes) {
      return fail(Code::kTooLarge, fmt::format("{} at offset {} has a length of {}; at most {}",
                                               what, position_ - 8, length, max_bytes));
    }
    SLUICE_ASSIGN_OR_RETURN(const auto bytes, take(length, what));
    return std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

 private:
  std::span<const std::byte> bytes_;
  uint64_t position_ = 0;
};

}  // namespace sluice::formats
