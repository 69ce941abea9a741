// GGUF files as a ModelSource.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>

#include "base/status.h"
#include "formats/model_source.h"

namespace sluice::formats {

// `path` is a whole model or the first of its shards, "name-00001-of-0000N.gguf"; the others are
// looked for beside it.
Result<std::unique_ptr<ModelSource>> open_gguf(const std::filesystem::path& path);

// The same from memory that outlives the source; one file only. For tests and fuzzing.
Result<std::unique_ptr<ModelSource>> open_gguf_bytes(std::span<const std::byte> bytes);

bool looks_like_gguf(std::span<const std::byte> bytes);

}  // namespace sluice::formats
