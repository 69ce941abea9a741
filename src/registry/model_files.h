// The files of a model, and which of many a model needs. Pure functions.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::registry {

inline constexpr uint64_t kMaxModelFileBytes = uint64_t{1} << 40;
inline constexpr size_t kMaxModelFiles = 2048;

struct ModelFile {
  std::string path = {};    // inside the model, check_file_path() holds once it was chosen
  uint64_t bytes = 0;       // 0: not known yet
  std::string digest = {};  // "sha256:…", empty: not known yet
};

// Of all files of one folder: the GGUF `asked` for with its shards, or, when `asked` is empty, what
// a Hugging Face folder needs (config.json, safetensors with their index, tokenizer, generation
// defaults, chat template), else the only GGUF. Pickles are never taken. The bare configuration
// comes first, so that a mistake shows before gigabytes were fetched.
Result<std::vector<ModelFile>> choose_files(const std::vector<ModelFile>& all,
                                            std::string_view asked);

// All names of a sharded GGUF ("m-00001-of-00003.gguf", any of them given), or just `file`.
std::vector<std::string> gguf_shards(std::string_view file);

}  // namespace sluice::registry
