// `sluice top`: services, replicas and their figures, live in the terminal or once.
#pragma once

#include <string>

#include "cli/client/kube_config.h"

namespace sluice::cli {

struct TopOptions {
  ApiOptions api;
  bool all_namespaces = false;
  bool once = false;
  double interval_seconds = 2;
  std::string output = "text";
};

int run_top(const TopOptions& options);

}  // namespace sluice::cli
