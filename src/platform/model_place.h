// ModelPlace: models that lie on this machine already: file:// and pvc://.
//
// Looks at the file system, opens nothing. Any thread.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::platform {

using Volumes = std::map<std::string, std::filesystem::path>;  // pvc://NAME → folder

inline constexpr std::string_view kPvcScheme = "pvc://";

// kInvalidArgument: the uri itself is wrong; kNotFound: nothing lies there (yet).
Result<std::string> file_model(std::string_view uri);
// The path must stay in the volume, links followed.
Result<std::string> pvc_model(std::string_view uri, const Volumes& volumes);

// A folder that holds nothing but one GGUF model, whole or in shards, stands for that file.
std::string model_in(const std::filesystem::path& path);

}  // namespace sluice::platform
