// parse_sentencepiece_model: a SentencePiece `tokenizer.model` file as a TokenizerSpec.
//
// The file is a protobuf message (sentencepiece_model.proto, ModelProto). Read are: pieces with
// score and type; of trainer_spec the model type, byte_fallback and the special ids; of
// normalizer_spec the character map and the whitespace rules. Everything else is skipped.
#pragma once

#include <string_view>

#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// Refuses malformed messages with the byte offset, word and character models by name, and models
// past limits::kMaxVocabulary. The pipeline is complete.
Result<TokenizerSpec> parse_sentencepiece_model(std::string_view bytes);

}  // namespace sluice::text
