// tokenizer.json and tokenizer_config.json: parsed, built, and made to encode the input itself.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/tokenizer.h"
#include "text/tokenizer_json.h"

// The input is a tokenizer.json, then optionally a zero byte and a tokenizer_config.json.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::text;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(all.find('\0'), size);
  auto spec = parse_tokenizer_json(all.substr(0, cut), all.substr(std::min(cut + 1, size)));
  if (!spec) return 0;
  const auto tokenizer = Tokenizer::create(*std::move(spec));
  if (!tokenizer) return 0;
  const auto ids = (*tokenizer)->encode(all.substr(0, 512), SpecialTokens::kAdd, true);
  detokenize(**tokenizer, ids, {.skip_special = false});
  return 0;
}
