#include "formats/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <string_view>

#include "base/json.h"
#include "base/limits.h"
#include "formats/byte_reader.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

constexpr size_t kMaxHeaderNodes = 4'000'000;
constexpr size_t kMaxDims = 8;

struct Entry {
  SafeTensor tensor;
  uint64_t begin = 0;
  uint64_t end = 0;
};

Result<tensor::DType> read_dtype(const json::object& entry) {
  const json::value* value = entry.if_contains("dtype");
  if (value == nullptr || !value->is_string()) return invalid("a string \"dtype\" is expected");
  const std::string_view name = value->get_string();
  if (name == "F32") return tensor::DType::kF32;
  if (name == "F16") return tensor::DType::kF16;
  if (name == "BF16") return tensor::DType::kBF16;
  return fail(Code::kUnimplemented,
              fmt::format("element type \"{}\" is not supported; supported are F32, F16 and BF16 "
                          "(quantized checkpoints: use a GGUF)",
                          printable(name)));
}

std::optional<uint64_t> as_size(const json::value& value) {
  if (value.is_uint64()) return value.get_uint64();
  if (value.is_int64() && value.get_int64() >= 0) return static_cast<uint64_t>(value.get_int64());
  return std::nullopt;
}

Result<tensor::Shape> read_shape(const json::object& entry) {
  const json::value* value = entry.if_contains("shape");
  if (value == nullptr || !value->is_array()) return invalid("an array \"shape\" is expected");
  const json::array& dims = value->get_array();
  if (dims.empty() || dims.size() > kMaxDims) {
    return invalid(fmt::format("1 to {} dimensions expected; found {}", kMaxDims, dims.size()));
  }
  tensor::Shape shape;
  for (const json::value& d : dims) {
    const auto size = as_size(d);
    if (!size || *size < 1 || *size > static_cast<uint64_t>(INT64_MAX)) {
      return invalid("each dimension is expected to be an integer of at least 1");
    }
    shape.push_back(static_cast<int64_t>(*size));
  }
  return shape;
}

Result<Entry> read_entry(const json::value& value, uint64_t data_begin, uint64_t data_bytes) {
  if (!value.is_object()) {
    return invalid(fmt::format("an object is expected; found {}", json_kind(value)));
  }
  const json::object& object = value.get_object();
  Entry entry;
  tensor::TensorView& view = entry.tensor.view;
  SLUICE_ASSIGN_OR_RETURN(view.dtype, read_dtype(object));
  SLUICE_ASSIGN_OR_RETURN(view.shape, read_shape(object));
  const json::value* offsets = object.if_contains("data_offsets");
  if (offsets == nullptr || !offsets->is_array() || offsets->get_array().size() != 2) {
    return invalid("\"data_offsets\": [begin, end] is expected");
  }
  const auto begin = as_size(offsets->get_array()[0]);
  const auto end = as_size(offsets->get_array()[1]);
  if (!begin || !end || *begin > *end) {
    return invalid("\"data_offsets\": two integers with begin <= end are expected");
  }
  if (*end > data_bytes) {
    return fail(
        Code::kDataLoss,
        fmt::format("its data ends at {}, the file's at {}; the file is cut short: download "
                    "it again",
                    *end, data_bytes));
  }
  SLUICE_ASSIGN_OR_RETURN(const uint64_t expected, tensor::stored_bytes(view.dtype, view.shape));
  if (*end - *begin != expected) {
    return invalid(fmt::format("its shape and type take {} bytes; data_offsets give it {}",
                               expected, *end - *begin));
  }
  const auto element = static_cast<uint64_t>(tensor::dtype_info(view.dtype).block_bytes);
  if ((data_begin + *begin) % element != 0) {
    return invalid(
        fmt::format("its data lies at byte {} of the file, no multiple of its element's "
                    "{} bytes; save the file again with a current safetensors",
                    data_begin + *begin, element));
  }
  entry.begin = *begin;
  entry.end = *end;
  return entry;
}

Outcome read_metadata(const json::value& value, SafetensorsFile& out) {
  if (!value.is_object()) return invalid("\"__metadata__\" is expected to be an object");
  for (const auto& [key, text] : value.get_object()) {
    if (!text.is_string()) return invalid("\"__metadata__\" is expected to hold strings only");
    out.metadata.emplace_back(printable(key), printable(text.get_string()));
  }
  return {};
}

// Tensors lie one behind the other from the first byte to the last.
Outcome check_cover(const std::vector<Entry>& entries, uint64_t data_bytes) {
  uint64_t end = 0;
  for (const Entry& e : entries) {
    if (e.begin != end) {
      return invalid(fmt::format("tensor \"{}\" {}: it begins at {}, the one before it ends at {}",
                                 printable(e.tensor.name),
                                 e.begin < end ? "overlaps another" : "leaves a gap", e.begin,
                                 end));
    }
    end = e.end;
  }
  if (end != data_bytes) {
    return invalid(
        fmt::format("the tensors end at byte {} of the data, which has {}: what follows "
                    "belongs to none",
                    end, data_bytes));
  }
  return {};
}

}  // namespace

Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> file) {
  ByteReader in(file);
  SLUICE_ASSIGN_OR_RETURN(const uint64_t length, in.number<uint64_t>("the header's length"));
  if (length < 2 || length > limits::kMaxSafetensorsHeader || length > in.left()) {
    return invalid(
        fmt::format("the header's length is expected to be 2 to {} and within the file "
                    "of {} bytes; found {}",
                    limits::kMaxSafetensorsHeader, file.size(), length));
  }
  SLUICE_ASSIGN_OR_RETURN(const auto header, in.take(length, "the header"));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  JsonLimits json_limits{
      .max_bytes = limits::kMaxSafetensorsHeader, .max_depth = 8, .max_nodes = kMaxHeaderNodes};
  auto parsed = parse_json(text, json_limits);
  if (!parsed) return std::unexpected(parsed.error().at("safetensors header"));
  if (text[0] != '{' || !parsed->is_object()) {
    return invalid("the safetensors header is expected to be a JSON object");
  }

  const auto data = file.subspan(in.position());
  SafetensorsFile out;
  std::vector<Entry> entries;
  for (const auto& [name, value] : parsed->get_object()) {
    if (name == "__metadata__") {
      SLUICE_RETURN_IF_ERROR(read_metadata(value, out));
      continue;
    }
    auto entry = read_entry(value, in.position(), data.size());
    if (!entry) {
      return std::unexpected(entry.error().at(fmt::format("tensor \"{}\"", printable(name))));
    }
    entry->tensor.name = name;
    entry->tensor.view.bytes = data.subspan(entry->begin, entry->end - entry->begin);
    entries.push_back(std::move(*entry));
  }
  std::ranges::sort(entries, {}, &Entry::begin);
  SLUICE_RETURN_IF_ERROR(check_cover(entries, data.size()));
  for (Entry& e : entries) out.tensors.push_back(std::move(e.tensor));
  return out;
}

}  // namespace sluice::formats
