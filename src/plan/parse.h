// Text and files → Plan, with errors that name file, line, field, what was expected, what was
// found. Fuzz target: plan_fuzz.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
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

// Files of secrets as they were last read: one that is still as it was, by its place, size and
// times, is not read again. A plan that is read again and again has a thousand of them. One thread.
class SecretFiles {
 public:
  // `settled`: the age from which a file's times tell that it has not changed since.
  explicit SecretFiles(SecretSource from = system_secrets(),
                       Duration settled = std::chrono::seconds(2))
      : from_(std::move(from)), settled_(settled) {}

  // Of one reading of a plan; what it does not ask for is forgotten with the next one. Used while
  // this lives.
  SecretSource source();

 private:
  struct Look {
    uint64_t device = 0;
    uint64_t number = 0;
    int64_t size = 0;
    int64_t modified = 0;
    int64_t changed = 0;
    bool operator==(const Look&) const = default;
  };
  struct File {
    Look look;
    std::string text;
    uint64_t round = 0;
  };
  Result<std::string> read(const std::string& path);

  const SecretSource from_;
  const Duration settled_;
  std::unordered_map<std::string, File> files_;
  uint64_t round_ = 0;
};

// What a plan holds at most: a route by model and one by host for each of 10,000 services.
inline constexpr size_t kMaxUpstreams = 20'000;
inline constexpr size_t kMaxRoutes = 20'000;

Result<Plan> parse_plan(const Node& root, const SecretSource& secrets);

// A file (YAML; JSON is YAML too) or a directory: its *.yaml, *.yml and *.json in the order of
// their names, lists joined, any other field in one file only.
Result<std::shared_ptr<const Plan>> load_plan(const std::filesystem::path& path,
                                              const SecretSource& secrets = system_secrets());

// As load_plan, of a file that is not there yet: `file` is what it will be called.
Result<std::shared_ptr<const Plan>> plan_from_text(std::string_view text, const std::string& file,
                                                   const SecretSource& secrets);

// As load_plan, from a value that a control plane sent.
Result<std::shared_ptr<const Plan>> plan_from_json(const json::value& value,
                                                   const SecretSource& secrets);

// A fingerprint of the files under `path` that changes when they may have: names, sizes and times.
std::string plan_stamp(const std::filesystem::path& path);

// "name weight" lines of a file of addresses: "http://10.0.0.7:8000 [name] [weight]", '#' for
// comments.
Result<std::vector<Endpoint>> parse_endpoints(std::string_view text, const std::string& file);

}  // namespace sluice::plan
