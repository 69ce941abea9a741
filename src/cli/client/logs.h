// `sluice logs`: what replicas write.
#pragma once

#include <string>
#include <vector>

#include "cli/client/kube_config.h"

namespace sluice::cli {

struct LogsOptions {
  ApiOptions api;
  std::vector<std::string> targets;  // a replica, or TYPE/NAME of a service, revision or replica
  int tail = -1;                     // lines from the end; below 0: all that is kept
  bool follow = false;
  bool prefix = false;  // the replica's name before each line
};

int run_logs(const LogsOptions& options);

}  // namespace sluice::cli
