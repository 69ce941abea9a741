// safetensors files, and the index of a sharded model.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "formats/hf_folder.h"
#include "formats/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto file = sluice::formats::parse_safetensors(std::as_bytes(std::span(data, size)));
  if (file) {
    size_t bytes = 0;
    for (const auto& tensor : file->tensors) bytes += tensor.view.bytes.size();
    if (bytes > size) __builtin_trap();
  }
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)sluice::formats::parse_safetensors_index(text);
  return 0;
}
