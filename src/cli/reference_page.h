// The options of all commands as a Markdown page: docs/configuration.md.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace sluice::cli {

std::string reference_page(const CLI::App& app);

}  // namespace sluice::cli
