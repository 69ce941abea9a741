// Configuration files: YAML text → nodes → plan, and JSON → plan. No crash, no endless loop, and a
// plan that was taken is within its bounds. A text that is cut into its items is JSON exactly when
// they and the rest are.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "plan/json_outline.h"
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

bool is_json(std::string_view text) {
  sluice::json::error_code error;
  sluice::json::parse_options options;
  options.max_depth = 1024;
  sluice::json::parse(text, error, {}, options);
  return !error;
}

void check_outline(std::string_view text) {
  using sluice::plan::OutlineList;
  // Where nesting alone may be what is refused, the parts prove nothing.
  if (std::ranges::count_if(text, [](char c) { return c == '{' || c == '['; }) > 1000) return;
  std::array<OutlineList, 2> lists{OutlineList{.name = "upstreams", .before = {}},
                                   OutlineList{.name = "routes", .before = {}}};
  const auto rest = sluice::plan::outline_json(text, lists);
  if (!rest) return;
  bool good = is_json(*rest);
  std::array<std::vector<std::string_view>, 2> items;
  for (size_t i = 0; i < lists.size(); ++i) {
    for (const auto& item : lists[i].items) {
      good = good && is_json(item.text);
      items[i].push_back(item.text);
    }
  }
  if (good != is_json(text)) std::abort();
  if (!good) return;
  // The same text again: every item is the one before, or equal to it.
  std::array<OutlineList, 2> again{OutlineList{.name = "upstreams", .before = items[0]},
                                   OutlineList{.name = "routes", .before = items[1]}};
  if (sluice::plan::outline_json(text, again) != rest) std::abort();
  for (size_t i = 0; i < lists.size(); ++i) {
    if (again[i].items.size() != items[i].size()) std::abort();
    for (size_t k = 0; k < items[i].size(); ++k) {
      const auto& item = again[i].items[k];
      if (item.text != items[i][k] || item.before >= items[i].size()) std::abort();
      if (items[i][item.before] != item.text) std::abort();
    }
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
  check_outline(text);
  static_cast<void>(sluice::plan::parse_endpoints(text, "fuzz.txt"));
  return 0;
}
