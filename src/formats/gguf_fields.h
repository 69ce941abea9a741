// GgufFields: typed reading of GGUF metadata. The first thing that is wrong is kept and every later
// read yields nothing, so that a reader is a list of fields with one check at its end.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/gguf_file.h"
#include "formats/ranges.h"

namespace sluice::formats {

class GgufFields {
 public:
  // Keys are looked up behind `prefix`: "llama." or "tokenizer.ggml.". `file` must outlive this.
  GgufFields(const GgufFile& file, std::string prefix) : file_(file), prefix_(std::move(prefix)) {}

  bool has(std::string_view key) const;

  // Any integer type. An array whose values are all equal counts as that value (some writers give
  // one value a layer).
  std::optional<int> integer(std::string_view key, IntRange range);
  int required_integer(std::string_view key, IntRange range);
  std::optional<float> number(std::string_view key);  // finite
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::string> text(std::string_view key);

  // Arrays; empty when the key is absent.
  std::vector<std::string> texts(std::string_view key, size_t max_count, size_t max_bytes);
  std::vector<float> numbers(std::string_view key, size_t max_count);
  std::vector<int32_t> integers(std::string_view key, size_t max_count);
  std::vector<uint8_t> bytes(std::string_view key);
  // One boolean for each layer; nothing when the value is no array.
  std::optional<std::vector<bool>> pattern(std::string_view key, int layers);

  void refuse(std::string_view key, std::string why);
  Outcome outcome() const;

 private:
  const GgufValue* find(std::string_view key) const;
  const GgufValue* find_array(std::string_view key, size_t max_count);
  std::optional<int64_t> element_as_integer(const GgufValue& value, uint64_t index);
  std::optional<double> element_as_number(const GgufValue& value, uint64_t index);

  const GgufFile& file_;
  std::string prefix_;
  std::optional<Status> problem_;
};

// A value for display: "[3 string] a, b, c", shortened.
std::string display(const GgufValue& value);

}  // namespace sluice::formats
