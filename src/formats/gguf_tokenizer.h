// The tokenizer, sampling defaults and chat template that a GGUF file carries, as it gives them.
#pragma once

#include "base/status.h"
#include "formats/gguf_file.h"
#include "formats/model_source.h"

namespace sluice::formats {

// tokenizer.ggml.*; empty when the file has none. Arrays have the vocabulary's length and special
// ids lie in it; whether tokens make sense together is text/'s to judge.
Result<TokenizerSource> gguf_tokenizer(const GgufFile& file, int vocab);

Result<GenerationDefaults> gguf_generation(const GgufFile& file, int vocab);

Result<std::string> gguf_chat_template(const GgufFile& file);

}  // namespace sluice::formats
