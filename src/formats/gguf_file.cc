#include "formats/gguf_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <optional>
#include <unordered_set>

#include "base/limits.h"
#include "formats/byte_reader.h"
#include "formats/printable.h"
#include "tensor/checked.h"

namespace sluice::formats {
namespace {

constexpr uint64_t kMaxKeyBytes = 65535;
constexpr uint64_t kMaxNameBytes = 64;
constexpr uint64_t kMaxArray = limits::kMaxVocabulary * 4;
constexpr uint64_t kMaxAlignment = 1u << 20;
constexpr uint32_t kMaxDims = 4;
constexpr std::string_view kAlignmentKey = "general.alignment";

// Bytes of a scalar; 0 for strings and arrays, whose size is their own.
uint64_t scalar_bytes(GgufType type) {
  switch (type) {
    case GgufType::kU8:
    case GgufType::kI8:
    case GgufType::kBool:
      return 1;
    case GgufType::kU16:
    case GgufType::kI16:
      return 2;
    case GgufType::kU32:
    case GgufType::kI32:
    case GgufType::kF32:
      return 4;
    case GgufType::kU64:
    case GgufType::kI64:
    case GgufType::kF64:
      return 8;
    case GgufType::kString:
    case GgufType::kArray:
      return 0;
  }
  return 0;
}

Result<GgufType> read_type(ByteReader& in) {
  SLUICE_ASSIGN_OR_RETURN(const uint32_t id, in.number<uint32_t>("a value's type"));
  if (id > static_cast<uint32_t>(GgufType::kF64)) {
    return invalid(fmt::format("value type {} is unknown; GGUF has types 0 to 12", id));
  }
  return static_cast<GgufType>(id);
}

// Checks and takes `count` elements.
Result<std::span<const std::byte>> read_elements(ByteReader& in, std::span<const std::byte> file,
                                                 GgufType type, uint64_t count) {
  if (type == GgufType::kString) {
    const uint64_t begin = in.position();
    for (uint64_t i = 0; i < count; ++i) {
      SLUICE_RETURN_IF_ERROR(in.string("a string value", limits::kMaxStringBytes));
    }
    return file.subspan(begin, in.position() - begin);
  }
  const auto bytes = tensor::checked_mul(count, scalar_bytes(type));
  if (!bytes) return invalid(fmt::format("an array of {} values is beyond 64 bits", count));
  SLUICE_ASSIGN_OR_RETURN(const auto taken, in.take(*bytes, "values"));
  if (type == GgufType::kBool &&
      std::ranges::any_of(taken, [](std::byte b) { return b > std::byte{1}; })) {
    return invalid("a boolean is neither 0 nor 1");
  }
  return taken;
}

Result<GgufValue> read_value(ByteReader& in, std::span<const std::byte> file) {
  GgufValue value;
  SLUICE_ASSIGN_OR_RETURN(value.type, read_type(in));
  if (value.type == GgufType::kArray) {
    value.array = true;
    SLUICE_ASSIGN_OR_RETURN(value.type, read_type(in));
    if (value.type == GgufType::kArray) return invalid("arrays of arrays are not supported");
    SLUICE_ASSIGN_OR_RETURN(value.count, in.number<uint64_t>("an array's count"));
    if (value.count > kMaxArray) {
      return fail(Code::kTooLarge,
                  fmt::format("an array of {} values; at most {}", value.count, kMaxArray));
    }
  }
  SLUICE_ASSIGN_OR_RETURN(value.bytes, read_elements(in, file, value.type, value.count));
  return value;
}

Outcome read_entries(ByteReader& in, std::span<const std::byte> file, uint64_t count,
                     GgufFile& out) {
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < count; ++i) {
    SLUICE_ASSIGN_OR_RETURN(const std::string_view key, in.string("a key", kMaxKeyBytes));
    if (key.empty()) return invalid(fmt::format("metadata entry {} has an empty key", i));
    if (!seen.insert(key).second) {
      return invalid(fmt::format("metadata key \"{}\" stands twice", printable(key)));
    }
    auto value = read_value(in, file);
    if (!value) {
      return std::unexpected(value.error().at(fmt::format("metadata key \"{}\"", printable(key))));
    }
    out.entries.push_back({key, *value});
  }
  return {};
}

Outcome read_alignment(GgufFile& out) {
  const GgufValue* value = out.find(kAlignmentKey);
  if (value == nullptr) return {};
  if (value->array || value->type != GgufType::kU32) {
    return invalid(fmt::format("{} is expected to be a u32; found {}{}", kAlignmentKey,
                               value->array ? "an array of " : "", gguf_type_name(value->type)));
  }
  ByteReader in(value->bytes);
  SLUICE_ASSIGN_OR_RETURN(const uint32_t alignment, in.number<uint32_t>("the alignment"));
  if (!std::has_single_bit(alignment) || alignment < 8 || alignment > kMaxAlignment) {
    return invalid(fmt::format("{} is expected to be a power of two from 8 to {}; found {}",
                               kAlignmentKey, kMaxAlignment, alignment));
  }
  out.alignment = alignment;
  return {};
}

Result<tensor::Shape> read_shape(ByteReader& in) {
  SLUICE_ASSIGN_OR_RETURN(const uint32_t dims, in.number<uint32_t>("the number of dimensions"));
  if (dims < 1 || dims > kMaxDims) {
    return invalid(fmt::format("1 to {} dimensions expected; found {}", kMaxDims, dims));
  }
  tensor::Shape shape(dims);
  for (uint32_t i = 0; i < dims; ++i) {
    SLUICE_ASSIGN_OR_RETURN(const uint64_t d, in.number<uint64_t>("a dimension"));
    if (d < 1 || d > static_cast<uint64_t>(INT64_MAX)) {
      return invalid(fmt::format("dimension {} is {}; expected 1 to 2^63 - 1", i, d));
    }
    shape[dims - 1 - i] = static_cast<int64_t>(d);
  }
  return shape;
}

// Where a tensor says its bytes are, before the data's own place is known.
struct Extent {
  uint64_t offset = 0;
  uint64_t bytes = 0;
};

Result<Extent> read_tensor(ByteReader& in, uint64_t alignment, GgufTensor& out) {
  SLUICE_ASSIGN_OR_RETURN(out.shape, read_shape(in));
  SLUICE_ASSIGN_OR_RETURN(const uint32_t type, in.number<uint32_t>("a tensor's type"));
  SLUICE_ASSIGN_OR_RETURN(out.dtype, tensor::dtype_from_gguf(type));
  Extent extent;
  SLUICE_ASSIGN_OR_RETURN(extent.bytes, tensor::stored_bytes(out.dtype, out.shape));
  SLUICE_ASSIGN_OR_RETURN(extent.offset, in.number<uint64_t>("a tensor's offset"));
  if (extent.offset % alignment != 0) {
    return invalid(
        fmt::format("offset {} is no multiple of the alignment {}", extent.offset, alignment));
  }
  if (!tensor::checked_add(extent.offset, extent.bytes)) {
    return invalid(fmt::format("offset {} is beyond 64 bits", extent.offset));
  }
  return extent;
}

Outcome read_tensors(ByteReader& in, uint64_t count, GgufFile& out, std::vector<Extent>& extents) {
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < count; ++i) {
    GgufTensor tensor;
    SLUICE_ASSIGN_OR_RETURN(tensor.name, in.string("a tensor's name", kMaxNameBytes));
    const std::string name = fmt::format("tensor \"{}\"", printable(tensor.name));
    if (tensor.name.empty()) return invalid(fmt::format("tensor {} has an empty name", i));
    if (!seen.insert(tensor.name).second) return invalid(name + " stands twice");
    auto extent = read_tensor(in, out.alignment, tensor);
    if (!extent) return std::unexpected(extent.error().at(name));
    extents.push_back(*extent);
    out.tensors.push_back(std::move(tensor));
  }
  return {};
}

Outcome place_tensors(std::span<const std::byte> data, const std::vector<Extent>& extents,
                      GgufFile& out) {
  std::vector<size_t> order(extents.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::ranges::sort(order, {}, [&](size_t i) { return extents[i].offset; });
  uint64_t end = 0;
  for (size_t n = 0; n < order.size(); ++n) {
    const Extent& extent = extents[order[n]];
    GgufTensor& tensor = out.tensors[order[n]];
    if (extent.offset < end) {
      return invalid(fmt::format("tensors \"{}\" and \"{}\" overlap at offset {}",
                                 printable(out.tensors[order[n - 1]].name), printable(tensor.name),
                                 extent.offset));
    }
    end = extent.offset + extent.bytes;
    if (end > data.size()) {
      return fail(Code::kDataLoss,
                  fmt::format("tensor \"{}\" ends at {} of the data, which has {} bytes; the file "
                              "is cut short: download it again",
                              printable(tensor.name), end, data.size()));
    }
    tensor.bytes = data.subspan(extent.offset, extent.bytes);
  }
  return {};
}

Result<uint32_t> read_version(ByteReader& in) {
  SLUICE_ASSIGN_OR_RETURN(const auto magic, in.take(4, "the magic"));
  if (std::string_view(reinterpret_cast<const char*>(magic.data()), 4) != "GGUF") {
    return invalid("this is no GGUF file: it does not begin with \"GGUF\"");
  }
  SLUICE_ASSIGN_OR_RETURN(const uint32_t version, in.number<uint32_t>("the version"));
  if (version == 2 || version == 3) return version;
  if ((version & 0xFFFF) == 0 && version != 0) {
    return fail(Code::kUnimplemented,
                "this GGUF file is big endian; convert it to little endian (gguf_convert_endian)");
  }
  return fail(Code::kUnimplemented,
              fmt::format("GGUF versions 2 and 3 are read; found {}: convert the model again with "
                          "a current converter",
                          version));
}

}  // namespace

std::string_view gguf_type_name(GgufType type) {
  static constexpr std::string_view kNames[] = {"u8",  "i8",  "u16",  "i16",    "u32",
                                                "i32", "f32", "bool", "string", "array",
                                                "u64", "i64", "f64"};
  return kNames[static_cast<size_t>(type)];
}

const GgufValue* GgufFile::find(std::string_view key) const {
  const auto it = std::ranges::find(entries, key, &GgufEntry::key);
  return it == entries.end() ? nullptr : &it->value;
}

Result<GgufFile> parse_gguf(std::span<const std::byte> file) {
  ByteReader in(file);
  GgufFile out;
  SLUICE_ASSIGN_OR_RETURN(out.version, read_version(in));
  SLUICE_ASSIGN_OR_RETURN(const uint64_t tensors, in.number<uint64_t>("the number of tensors"));
  SLUICE_ASSIGN_OR_RETURN(const uint64_t entries, in.number<uint64_t>("the number of entries"));
  if (tensors > limits::kMaxTensors) {
    return fail(Code::kTooLarge,
                fmt::format("{} tensors; at most {} are read", tensors, limits::kMaxTensors));
  }
  if (entries > limits::kMaxMetadataEntries) {
    return fail(Code::kTooLarge, fmt::format("{} metadata entries; at most {} are read", entries,
                                             limits::kMaxMetadataEntries));
  }
  SLUICE_RETURN_IF_ERROR(read_entries(in, file, entries, out));
  SLUICE_RETURN_IF_ERROR(read_alignment(out));
  std::vector<Extent> extents;
  SLUICE_RETURN_IF_ERROR(read_tensors(in, tensors, out, extents));
  const auto begin = tensor::checked_align(in.position(), out.alignment);
  const bool has_data = begin && *begin <= file.size();
  SLUICE_RETURN_IF_ERROR(
      place_tensors(has_data ? file.subspan(*begin) : std::span<const std::byte>(), extents, out));
  return out;
}

}  // namespace sluice::formats
