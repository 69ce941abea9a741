// `sluice delete` and `sluice scale`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/client/kube_config.h"

namespace sluice::cli {

struct DeleteOptions {
  ApiOptions api;
  std::vector<std::string> targets;
  std::vector<std::string> files;
  std::string selector;
  std::string cascade = "background";  // foreground, orphan
  std::string timeout = "0";           // for ever
  bool all = false;
  bool all_namespaces = false;
  bool recursive = false;
  bool ignore_not_found = false;
  bool wait = true;
};
int run_delete(const DeleteOptions& options);

struct ScaleOptions {
  ApiOptions api;
  std::vector<std::string> targets;
  int replicas = -1;
  int current_replicas = -1;  // must be so many now; below 0: any number
};
int run_scale(const ScaleOptions& options);

}  // namespace sluice::cli
