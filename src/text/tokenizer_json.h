// parse_tokenizer_json: Hugging Face's tokenizer.json as a TokenizerSpec.
//
// Read are the models BPE (byte-level, and over characters with byte fallback), Unigram and
// WordPiece with the normalizers, pre-tokenizers, post-processors and decoders that text/README.md
// lists. What is not supported is refused by its name. The layout is that of the `tokenizers`
// library, version "1.0" of the file.
#pragma once

#include <string_view>

#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// `tokenizer_config_json` names the BOS, EOS, unknown and padding tokens; it may be empty. The
// result's pipeline is complete. Limits: limits::kMaxTokenizerBytes, kMaxVocabulary, and 64 stages
// of each sort with sequences nested at most 8 deep.
Result<TokenizerSpec> parse_tokenizer_json(std::string_view tokenizer_json,
                                           std::string_view tokenizer_config_json);

}  // namespace sluice::text
