// Text and files → Plan, with errors that name file, line, field, what was expected, what was
// found. Fuzz target: plan_fuzz.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "plan/node.h"
#include "plan/plan.h"

namespace sluice::plan {

// Where secrets and key files are read from. Tests and the fuzz target put their own.
struct SecretSource {
  std::function<Result<std::string>(const std::string& name)> environment;
  std::function<Result<std::string>(const std::string& path)> file;
};
// The process's environment and files.
SecretSource system_secrets();

Result<Plan> parse_plan(const Node& root, const SecretSource& secrets);

// A file (YAML; JSON is YAML too) or a directory: its *.yaml, *.yml and *.json in the order of
// their names, lists joined, any other field in one file only.
Result<std::shared_ptr<const Plan>> load_plan(const std::filesystem::path& path,
                                              const SecretSource& secrets = system_secrets());

// As load_plan, from a value that a control plane sent.
Result<std::shared_ptr<const Plan>> plan_from_json(const json::value& value,
                                                   const SecretSource& secrets);

// A fingerprint of the files under `path` that changes when they may have: names, sizes and times.
std::string plan_stamp(const std::filesystem::path& path);

// "name weight" lines of a file of addresses: "http://10.0.0.7:8000 [name] [weight]", '#' for
// comments.
Result<std::vector<Endpoint>> parse_endpoints(std::string_view text, const std::string& file);

}  // namespace sluice::plan
