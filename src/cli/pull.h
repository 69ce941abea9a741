// `sluice pull`: a model into the cache, with a progress bar; `--list`: what the cache holds.
#pragma once

#include <string>

namespace sluice::cli {

struct PullCliOptions {
  std::string source;
  std::string name;
  std::string checksum;
  bool allow_http = false;
  bool list = false;
  std::string output = "text";
};

int run_pull(const PullCliOptions& options);

}  // namespace sluice::cli
