// MODEL arguments → files: a path, a cached name, each maybe with "=name".
#pragma once

#include <string>

#include "base/status.h"
#include "serving/options.h"

namespace sluice::cli {

// "models/story.gguf", "folder=name". A path wins over a cached name; a "=" that is part of an
// existing path is not taken for the separator. Without "=name" the model is named after its file.
Result<serving::ModelPath> resolve_model(const std::string& given);

}  // namespace sluice::cli
