// `sluice get` and `sluice describe`: objects as tables, YAML, JSON, names, or told in full.
#pragma once

#include <string>
#include <vector>

#include "cli/client/kube_config.h"

namespace sluice::cli {

struct GetOptions {
  ApiOptions api;
  std::vector<std::string> targets;
  std::vector<std::string> files;
  std::string output;  // empty: a table; wide, json, yaml, name
  std::string selector;
  std::string field_selector;
  bool all_namespaces = false;
  bool watch = false;
  bool recursive = false;
  bool no_head = false;
  bool show_labels = false;
  bool managed_fields = false;
  bool ignore_not_found = false;
};

int run_get(const GetOptions& options);
int run_describe(const GetOptions& options);

}  // namespace sluice::cli
