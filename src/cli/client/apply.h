// `sluice apply`: manifests become objects, by server-side apply.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cli/client/kube_config.h"
#include "cli/client/manifests.h"

namespace sluice::cli {

class ApiClient;

struct ApplyOptions {
  ApiOptions api;
  std::vector<std::string> files;
  std::string manager = "sluice";
  std::string output;  // empty: a line for each; name, json, yaml
  std::string dry_run = "none";
  std::string timeout = "5m";  // of wait
  bool recursive = false;
  bool force_conflicts = false;
  bool wait = false;  // until all that can be ready are
};

int run_apply(const ApplyOptions& options);

enum class Applied { kCreated, kConfigured, kUnchanged };
std::string_view applied_word(Applied applied);

struct AppliedObject {
  Applied how = Applied::kUnchanged;
  json::value object;
};
// One manifest into namespace `ns`, which its kind may ignore.
Result<AppliedObject> apply_manifest(ApiClient& api, const Manifest& manifest,
                                     const std::string& ns, const ApplyOptions& options);

}  // namespace sluice::cli
