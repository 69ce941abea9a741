// gguf_tokenizer_spec: the metadata keys tokenizer.ggml.* of a GGUF file as a TokenizerSpec.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "text/tokenizer_spec.h"

namespace sluice::text {

// One member per key, as the file has it; absent ones empty. (The same fields as
// formats::TokenizerSource, which this room may not name.)
struct GgufTokenizerFields {
  std::string model;  // "llama", "gpt2", "t5", "bert"
  std::string pre;
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;       // 1 normal … 6 byte; empty: all normal
  std::vector<std::string> merges;  // "left right"
  std::optional<int32_t> bos, eos, eot, eom, unk, pad;
  std::optional<bool> add_bos, add_eos, add_space_prefix, remove_extra_whitespaces;
  std::vector<uint8_t> precompiled_charsmap;
};

// Fills defaults that the format leaves to the reader (special ids of `llama`, `bert` and `t5`
// models, add_bos by model and pattern), types marks that end a turn as control tokens, and
// completes the pipeline. Refuses unknown models, types and patterns by name.
Result<TokenizerSpec> gguf_tokenizer_spec(GgufTokenizerFields fields);

}  // namespace sluice::text
