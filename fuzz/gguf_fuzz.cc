// GGUF files: container, metadata, tensor table.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "formats/gguf_model.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  const auto opened = sluice::formats::open_gguf_bytes(bytes);
  if (opened) (void)(*opened)->weights_digest();
  return 0;
}
