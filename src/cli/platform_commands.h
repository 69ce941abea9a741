// The options of the commands that run the platform: up and controller. Part of the table in
// commands.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "cli/client_commands.h"

namespace sluice::cli {

void add_platform_commands(CLI::App& app, std::vector<Command>& commands);

}  // namespace sluice::cli
