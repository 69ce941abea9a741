// YAML configuration files: option names as keys, without their dashes.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace sluice::cli {

// Sets the options of `app` that neither the command line nor the environment has set, from one
// flat mapping of option names to scalars or lists:
//   host: 0.0.0.0
//   api-key: [first, second]
// To be called after app was parsed. Throws CLI::FileError, naming line and key, when the file
// cannot be read, is no such mapping, or names an option that there is not; CLI::ValidationError
// for a bad value.
void apply_yaml(CLI::App& app, const std::string& path);

}  // namespace sluice::cli
