// config.json, generation_config.json and tensor names of a Hugging Face folder.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "formats/hf_config.h"
#include "formats/hf_names.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::formats;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  (void)parse_hf_config(text);
  (void)parse_generation_config(text, 1000);
  for (const Architecture& architecture : architectures()) {
    (void)canonical_name(architecture, text);
  }
  return 0;
}
