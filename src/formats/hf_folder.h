// Hugging Face folders: config.json, *.safetensors and the tokenizer's files.
#pragma once

#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "formats/model_source.h"

namespace sluice::formats {

// The folder's files may be symbolic links, as in the hub's cache; the index may name files of the
// folder only.
Result<std::unique_ptr<ModelSource>> open_hf_folder(const std::filesystem::path& folder);

// model.safetensors.index.json: where each tensor lies. Refused: names that are no plain
// "….safetensors".
Result<std::map<std::string, std::string, std::less<>>> parse_safetensors_index(
    std::string_view index_json);

}  // namespace sluice::formats
