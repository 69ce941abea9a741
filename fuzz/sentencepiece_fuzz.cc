// SentencePiece's tokenizer.model: parsed, built, and made to encode the input itself.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "text/sentencepiece_proto.h"
#include "text/tokenizer.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace sluice::text;
  const std::string_view all(reinterpret_cast<const char*>(data), size);
  auto spec = parse_sentencepiece_model(all);
  if (!spec) return 0;
  const auto tokenizer = Tokenizer::create(*std::move(spec));
  if (!tokenizer) return 0;
  const auto ids = (*tokenizer)->encode(all.substr(0, 512), SpecialTokens::kAdd, false);
  detokenize(**tokenizer, ids, {});
  return 0;
}
