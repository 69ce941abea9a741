#include "plan/plan_reader.h"

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "base/files.h"
#include "plan/json_outline.h"
#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

constexpr NodeLimits kLimits;
constexpr size_t kItemDepth = 2;  // items stand in a list of the outermost object

// A secret that an upstream was read with.
struct SecretUse {
  bool file = false;
  std::string name;
  std::string text;
};

SecretSource noting(const SecretSource& secrets, std::vector<SecretUse>& uses) {
  const auto note = [&uses](bool file, const std::string& name, Result<std::string> text) {
    if (text) uses.push_back({.file = file, .name = name, .text = *text});
    return text;
  };
  return {.environment =
              [&secrets, note](const std::string& name) {
                return note(false, name, secrets.environment(name));
              },
          .file = [&secrets,
                   note](const std::string& path) { return note(true, path, secrets.file(path)); }};
}

bool still_so(const std::vector<SecretUse>& uses, const SecretSource& secrets) {
  return std::ranges::all_of(uses, [&](const SecretUse& use) {
    const auto text = use.file ? secrets.file(use.name) : secrets.environment(use.name);
    return text && *text == use.text;
  });
}

std::optional<Node> read_item(std::string_view text, NodeCount& count) {
  NodeLimits limits = kLimits;
  limits.max_depth -= kItemDepth;
  auto node = parse_json_nodes(text, limits, &count);
  if (!node) return std::nullopt;
  return *std::move(node);
}

}  // namespace

// A plan, and the text that it was read from. Items stand in the order of the plan's.
struct PlanReader::Former {
  struct UpstreamItem {
    NodeCount count;
    std::vector<SecretUse> secrets;
  };
  struct RouteItem {
    NodeCount count;
    Mentions mentions = 0;
  };

  std::string text;
  std::vector<std::string_view> upstream_texts;  // point into `text`
  std::vector<std::string_view> route_texts;
  std::vector<UpstreamItem> upstreams;
  std::vector<RouteItem> routes;
  std::shared_ptr<const Plan> plan;
};

struct PlanReader::Reading {
  const SecretSource& secrets;
  Former& now;
  Problems problems{};
  Plan plan{};
  NodeCount count{};
  size_t anew = 0;
  bool failed = false;  // not to be had in the fast way
};

PlanReader::PlanReader(std::filesystem::path path, SecretSource from, Duration settled)
    : path_(std::move(path)), secrets_(std::move(from), settled) {}

PlanReader::~PlanReader() = default;

Result<std::shared_ptr<const Plan>> PlanReader::read() {
  const SecretSource secrets = remembering(secrets_.source());
  read_anew_ = 0;
  std::error_code error;
  if (path_.extension() == ".json" && std::filesystem::is_regular_file(path_, error)) {
    auto text = read_file(path_, kLimits.max_bytes);
    if (text) {
      if (auto plan = read_text(*std::move(text), secrets)) return plan;
    }
  }
  return load_plan(path_, secrets);
}

// Null when it is not to be had in this way; what is known of the plan before stays then.
std::shared_ptr<const Plan> PlanReader::read_text(std::string text, const SecretSource& secrets) {
  auto now = std::make_unique<Former>();
  now->text = std::move(text);
  std::array<OutlineList, 2> lists{OutlineList{.name = "upstreams", .before = {}},
                                   OutlineList{.name = "routes", .before = {}}};
  auto& [upstreams, routes] = lists;
  if (former_) {
    upstreams.before = former_->upstream_texts;
    routes.before = former_->route_texts;
  }
  const auto rest = outline_json(now->text, lists);
  if (!rest || upstreams.items.size() > kMaxUpstreams || routes.items.size() > kMaxRoutes) {
    return nullptr;
  }
  Reading reading{.secrets = secrets, .now = *now};
  const auto root = parse_json_nodes(*rest, kLimits, &reading.count);
  if (!root) return nullptr;
  for (const OutlineList& list : lists) {
    // The key and the list.
    if (list.found) reading.count += {.nodes = 2, .text_bytes = list.name.size()};
  }
  Fields fields(*root, "", reading.problems);
  Plan& plan = reading.plan;
  read_settings(fields, secrets, plan);
  plan.upstreams.reserve(upstreams.items.size());
  plan.routes.reserve(routes.items.size());
  now->upstreams.reserve(upstreams.items.size());
  now->routes.reserve(routes.items.size());
  for (const OutlineItem& item : upstreams.items) {
    now->upstream_texts.push_back(item.text);
    add_upstream(item.text, item.before, reading);
    if (reading.failed) return nullptr;
  }
  for (const OutlineItem& item : routes.items) {
    now->route_texts.push_back(item.text);
    add_route(item.text, item.before, reading);
    if (reading.failed) return nullptr;
  }
  read_graphs_and_tenants(fields, secrets, plan);
  std::vector<Mentions> mentions;
  mentions.reserve(now->routes.size());
  for (const Former::RouteItem& each : now->routes) mentions.push_back(each.mentions);
  check_whole(plan, mentions, fields);
  if (!reading.problems.empty() || !reading.count.fits(kLimits)) return nullptr;
  now->plan = std::make_shared<const Plan>(std::move(plan));
  read_anew_ = reading.anew;
  former_ = std::move(now);
  return former_->plan;
}

void PlanReader::add_upstream(std::string_view text, size_t before, Reading& reading) {
  Former::UpstreamItem& item = reading.now.upstreams.emplace_back();
  if (before != OutlineItem::kNew &&
      still_so(former_->upstreams[before].secrets, reading.secrets)) {
    item = former_->upstreams[before];
    reading.plan.upstreams.push_back(former_->plan->upstreams[before]);
  } else {
    const auto node = read_item(text, item.count);
    reading.failed = !node;
    if (!node) return;
    Fields fields(*node, "", reading.problems);
    reading.plan.upstreams.push_back(read_upstream(fields, noting(reading.secrets, item.secrets)));
    fields.finish();
    ++reading.anew;
  }
  reading.count += item.count;
  reading.failed = !reading.problems.empty();
}

void PlanReader::add_route(std::string_view text, size_t before, Reading& reading) {
  Former::RouteItem& item = reading.now.routes.emplace_back();
  if (before != OutlineItem::kNew) {
    item = former_->routes[before];
    reading.plan.routes.push_back(former_->plan->routes[before]);
  } else {
    const auto node = read_item(text, item.count);
    reading.failed = !node;
    if (!node) return;
    Fields fields(*node, "", reading.problems);
    reading.plan.routes.push_back(read_route(fields));
    fields.finish();
    item.mentions = mentions_of(*node);
    ++reading.anew;
  }
  reading.count += item.count;
  reading.failed = !reading.problems.empty();
}

}  // namespace sluice::plan
