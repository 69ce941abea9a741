// GGUF metadata as a ModelConfig, key by key as llama.cpp's loader reads them (src/models/*.cpp of
// ggml-org/llama.cpp), so that a file means the same here.
#pragma once

#include "base/status.h"
#include "formats/gguf_file.h"
#include "formats/model_config.h"
#include "formats/model_parts.h"

namespace sluice::formats {

// `tensors` are the file's, for what its metadata leaves out: the vocabulary's size, tied
// embeddings, rope divisors. Relations between the fields are left to check_config().
Result<ModelConfig> gguf_config(const GgufFile& file, const TensorMap& tensors);

}  // namespace sluice::formats
