// MODEL arguments → files: a path, a cached name, each maybe with "=name".
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "serving/options.h"

namespace sluice::cli {

// "models/story.gguf", "folder=name". A path wins over a cached name; a "=" that is part of an
// existing path is not taken for the separator. Without "=name" the model is named after its file.
Result<serving::ModelPath> resolve_model(const std::string& given);

// What a folder of models holds: GGUF files (of one in parts the first) and folders with a
// config.json, by their names, in their order. Fails where there is none, or more than
// kMaxRepositoryModels.
Result<std::vector<serving::ModelPath>> models_in(const std::filesystem::path& folder);
inline constexpr size_t kMaxRepositoryModels = 1024;

}  // namespace sluice::cli
