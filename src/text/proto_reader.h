// ProtoReader: the fields of one protobuf message, in file order, without a schema. Checks every
// length against the bytes that are there. A view: the bytes must outlive it.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string_view>

#include "base/status.h"

namespace sluice::text {

class ProtoReader {
 public:
  // `base`: where `bytes` stand in the file, for messages.
  explicit ProtoReader(std::string_view bytes, size_t base = 0) : bytes_(bytes), base_(base) {}

  struct Field {
    uint32_t number = 0;
    uint32_t wire_type = 0;  // 0 varint, 1 fixed 64, 2 bytes, 5 fixed 32
    uint64_t value = 0;      // wire types 0, 1, 5
    std::string_view bytes;  // wire type 2
    size_t offset = 0;       // of `bytes` in the file

    float as_float() const { return std::bit_cast<float>(static_cast<uint32_t>(value)); }
    int32_t as_int() const { return static_cast<int32_t>(static_cast<uint32_t>(value)); }
  };

  // The next field; nothing at the end.
  Result<std::optional<Field>> next();

  size_t offset() const { return base_ + at_; }

 private:
  Result<uint64_t> varint();

  std::string_view bytes_;
  size_t base_;
  size_t at_ = 0;
};

}  // namespace sluice::text
