// The options of the commands that talk to the control plane's API, and of doctor. Part of the
// table in commands.cc.
#pragma once

#include <CLI/CLI.hpp>
#include <functional>
#include <utility>
#include <vector>

namespace sluice::cli {

// A command and what runs it: the exit status.
using Command = std::pair<CLI::App*, std::function<int()>>;

// Adds apply, get, describe, delete, scale, wait, rollout, logs, top and doctor to `app`.
void add_client_commands(CLI::App& app, std::vector<Command>& commands);

}  // namespace sluice::cli
