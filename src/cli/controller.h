// `sluice controller`: the control plane's API server, and the platform that makes the world look
// like its objects.
#pragma once

#include <string>

#include "cli/platform_flags.h"

namespace sluice::cli {

// Values of the command line; their table is in platform_commands.cc.
struct ControllerOptions {
  std::string data;  // empty: $XDG_STATE_HOME/sluice/control
  std::string host = "127.0.0.1";
  int port = 8001;
  PlatformFlags platform;
};

// Runs until SIGTERM or SIGINT, or until SIGUSR2, which leaves the replicas to a successor. Returns
// the process's exit status.
int run_controller(const ControllerOptions& options);

}  // namespace sluice::cli
