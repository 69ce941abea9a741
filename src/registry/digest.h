// SHA-256 digests as they are written everywhere here: "sha256:" and 64 lower-case hex digits.
//
// Pure functions but for sha256_file(); callable from any thread.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::registry {

std::string sha256_text(std::string_view bytes);

// Reads the whole file.
Result<std::string> sha256_file(const std::filesystem::path& path);

// "sha256:<hex>" or the bare hex digits, in either letter case.
Result<std::string> parse_digest(std::string_view text);

}  // namespace sluice::registry
