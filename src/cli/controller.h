// `sluice controller`: the control plane's API server.
#pragma once

#include <string>
#include <vector>

namespace sluice::cli {

// Values of the command line; their table is in commands.cc.
struct ControllerOptions {
  std::string data;  // empty: $XDG_STATE_HOME/sluice/control
  std::string host = "127.0.0.1";
  int port = 8001;
  std::vector<std::string> allowed_commands = {"sluice"};
  int shutdown_timeout_seconds = 10;
  std::string log_level = "info";
};

// Runs until SIGTERM or SIGINT. Returns the process's exit status.
int run_controller(const ControllerOptions& options);

}  // namespace sluice::cli
