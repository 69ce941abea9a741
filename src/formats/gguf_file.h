// The GGUF container: metadata entries and tensor descriptions of one file, checked against its
// bytes, not yet interpreted. Spec: ggml-org/ggml docs/gguf.md, versions 2 and 3, little endian.
//
//   "GGUF" | u32 version | u64 tensors | u64 entries
//   entries × ( string key | u32 type | value )
//   tensors × ( string name | u32 dims | u64 dim[dims], fastest first | u32 type | u64 offset )
//   padding to `general.alignment` | tensor data, each tensor at its offset from here
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "tensor/dtype.h"

namespace sluice::formats {

enum class GgufType : uint32_t {
  kU8,
  kI8,
  kU16,
  kI16,
  kU32,
  kI32,
  kF32,
  kBool,
  kString,
  kArray,
  kU64,
  kI64,
  kF64,
};

std::string_view gguf_type_name(GgufType type);

// A scalar (count 1) or an array of scalars or strings. `bytes` points into the file; strings in it
// keep their length prefixes, and every length was checked.
struct GgufValue {
  GgufType type = GgufType::kU8;  // of the elements, never kArray
  bool array = false;
  uint64_t count = 1;
  std::span<const std::byte> bytes;
};

struct GgufEntry {
  std::string_view key;
  GgufValue value;
};

struct GgufTensor {
  std::string_view name;
  tensor::DType dtype = tensor::DType::kF32;
  tensor::Shape shape;  // slowest first
  std::span<const std::byte> bytes;
};

// Views point into the bytes that were parsed.
struct GgufFile {
  uint32_t version = 0;
  uint64_t alignment = 32;
  std::vector<GgufEntry> entries;   // keys are unique
  std::vector<GgufTensor> tensors;  // names are unique, bytes do not overlap

  const GgufValue* find(std::string_view key) const;
};

// Everything that the container itself promises is checked: lengths, counts, types, duplicates,
// dimensions, alignment, and that each tensor's bytes lie in the file.
Result<GgufFile> parse_gguf(std::span<const std::byte> file);

}  // namespace sluice::formats
