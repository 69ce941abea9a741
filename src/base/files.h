// Small files read and written whole. Model weights are mapped instead (tensor/mapped_file.h).
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice {

// The file's bytes; a file of more than `max_bytes` is refused unread.
Result<std::string> read_file(const std::filesystem::path& path, size_t max_bytes);

// Writes to a temporary neighbour, syncs it and renames it over `path`: readers see the old bytes
// or the new ones, never half.
Outcome write_file_atomically(const std::filesystem::path& path, std::string_view bytes);

}  // namespace sluice
