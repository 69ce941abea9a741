// Configuration files: YAML text → nodes → plan, and JSON → plan. No crash, no endless loop, and a
// plan that was taken is within its bounds.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "plan/parse.h"

namespace {

using sluice::Result;

sluice::plan::SecretSource secrets() {
  return {.environment = [](const std::string&) -> Result<std::string> { return "s3cret"; },
          .file = [](const std::string&) -> Result<std::string> { return "s3cret"; }};
}

void check(const sluice::plan::Plan& plan) {
  if (plan.routes.empty()) std::abort();
  for (const auto& route : plan.routes) {
    if (route.targets.empty() || route.name.empty()) std::abort();
    for (const auto& target : route.targets) {
      if (plan.find_upstream(target.upstream) == nullptr) std::abort();
    }
    if (route.retry.attempts < 0 || route.retry.attempts > 16) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const sluice::plan::NodeLimits limits{
      .max_bytes = 64u << 10, .max_nodes = 4096, .max_depth = 16, .max_text_bytes = 256u << 10};
  const auto root = sluice::plan::parse_yaml(text, "fuzz.yaml", limits);
  if (root) {
    const auto plan = sluice::plan::parse_plan(*root, secrets());
    if (plan) {
      check(*plan);
      // The other form says the same.
      const auto again =
          sluice::plan::plan_from_json(sluice::plan::to_json_value(*root), secrets());
      if (again) check(**again);
    } else if (plan.error().message().empty()) {
      std::abort();
    }
  }
  if (const auto nodes = sluice::plan::parse_json_nodes(text, limits)) {
    const auto plan = sluice::plan::parse_plan(*nodes, secrets());
    if (plan) check(*plan);
  }
  static_cast<void>(sluice::plan::parse_endpoints(text, "fuzz.txt"));
  return 0;
}
