#include "text/proto_reader.h"

#include <fmt/format.h>

namespace sluice::text {
namespace {

std::unexpected<Status> malformed(size_t offset, std::string_view what) {
  return fail(Code::kDataLoss,
              fmt::format("the protobuf message is malformed at byte {}: {}", offset, what));
}

}  // namespace

Result<uint64_t> ProtoReader::varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (at_ >= bytes_.size()) return malformed(offset(), "a number is cut off");
    const auto byte = static_cast<unsigned char>(bytes_[at_++]);
    if (shift == 63 && byte > 1) break;
    value |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if (byte < 0x80) return value;
  }
  return malformed(offset(), "a number has more than 64 bits");
}

Result<std::optional<ProtoReader::Field>> ProtoReader::next() {
  if (at_ >= bytes_.size()) return std::optional<Field>();
  SLUICE_ASSIGN_OR_RETURN(const uint64_t tag, varint());
  Field field;
  field.wire_type = static_cast<uint32_t>(tag & 7);
  if (tag >> 3 == 0 || tag >> 3 > 0x1FFFFFFF) return malformed(offset(), "a bad field number");
  field.number = static_cast<uint32_t>(tag >> 3);
  const auto fixed = [&](size_t size) -> Outcome {
    if (bytes_.size() - at_ < size) return malformed(offset(), "a fixed-size field is cut off");
    std::memcpy(&field.value, bytes_.data() + at_, size);
    at_ += size;
    return {};
  };
  switch (field.wire_type) {
    case 0: {
      SLUICE_ASSIGN_OR_RETURN(field.value, varint());
      break;
    }
    case 1:
      SLUICE_RETURN_IF_ERROR(fixed(8));
      break;
    case 2: {
      SLUICE_ASSIGN_OR_RETURN(const uint64_t size, varint());
      if (size > bytes_.size() - at_) {
        return malformed(offset(), fmt::format("a field of {} bytes, but {} are left", size,
                                               bytes_.size() - at_));
      }
      field.offset = offset();
      field.bytes = bytes_.substr(at_, size);
      at_ += size;
      break;
    }
    case 5:
      SLUICE_RETURN_IF_ERROR(fixed(4));
      break;
    default:
      return malformed(offset(), fmt::format("wire type {}", field.wire_type));
  }
  return std::optional(field);
}

}  // namespace sluice::text
