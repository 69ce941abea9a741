#include "plan/parse.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <ctime>
#include <span>
#include <unordered_map>
#include <utility>

#include "base/files.h"
#include "plan/load_report.h"
#include "plan/parse_parts.h"

namespace sluice::plan {
namespace {

constexpr size_t kMaxSecretFileBytes = 64u << 10;
constexpr size_t kMaxFiles = 256;

constexpr std::array<std::string_view, kErrorClasses> kErrorNames = {
    "connect",      "timeout", "overloaded", "rate_limited",
    "server_error", "context", "auth",       "not_found"};

// "host:port", "[::1]:8000" or ":8000".
bool read_address(std::string_view text, Listener& out) {
  const size_t colon = text.rfind(':');
  if (colon == std::string_view::npos) return false;
  std::string_view host = text.substr(0, colon);
  const std::string_view digits = text.substr(colon + 1);
  int port = 0;
  const auto [at, error] = std::from_chars(digits.data(), digits.data() + digits.size(), port);
  if (error != std::errc() || at != digits.data() + digits.size() || port < 0 || port > 65535) {
    return false;
  }
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  out.host = host.empty() ? "0.0.0.0" : std::string(host);
  out.port = static_cast<uint16_t>(port);
  return true;
}

void read_server_tls(Fields& f, ServerTlsPlan& out) {
  f.require("certificates");
  f.list("certificates", 64, [&](Fields& each) {
    each.require("certificate");
    each.require("key");
    read_certificate(each, out.certificates.emplace_back());
  });
  f.text("client_ca", out.client_ca, 4096);
  enum class Wish { kOptional, kRequired };
  Wish wish = Wish::kRequired;
  f.choice<Wish>("client_certificate", wish,
                 {{"optional", Wish::kOptional}, {"required", Wish::kRequired}});
  if (f.has("client_certificate") && out.client_ca.empty()) {
    f.problem("client_certificate", "has no effect without client_ca");
  }
  out.client_certificate_required = wish == Wish::kRequired;
}

void read_server(Fields& f, ServerPlan& out) {
  int64_t connections = static_cast<int64_t>(out.max_connections);
  f.integer("max_connections", connections, int64_t{1}, int64_t{1'000'000});
  out.max_connections = static_cast<size_t>(connections);
  f.size("max_body", out.max_body_bytes, 1024, size_t{1} << 30);
  f.boolean("metrics_public", out.metrics_public);
  f.map("tls", [&](Fields& tls) { read_server_tls(tls, out.tls.emplace()); });
  std::vector<std::string> proxies;
  f.texts("trusted_proxies", proxies);
  for (const std::string& text : proxies) {
    if (const auto network = parse_ip_network(text)) {
      out.trusted_proxies.push_back(*network);
    } else {
      f.problem("trusted_proxies", network.error().message());
    }
  }
}

void read_control(Fields& f, const SecretSource& secrets, ControlPlan& out) {
  f.require("url");
  f.text("url", out.url, 512);
  if (const Outcome good = check_base_url(out.url); f.has("url") && !good) {
    f.problem("url", good.error().message());
  }
  f.require("token");
  read_secret(f, "token", secrets, out.token);
  f.text("plan_id", out.plan_id, kMaxLoadNameBytes);
  if (!out.plan_id.empty() && !is_load_name(out.plan_id)) {
    f.problem("plan_id", "expected characters without blanks");
  }
}

// Lists of all files joined; any other field in one file only.
Result<Node> merge(std::vector<Node> roots) {
  if (roots.size() == 1) return std::move(roots.front());
  Node merged;
  merged.kind = Node::Kind::kMap;
  for (Node& root : roots) {
    if (root.null()) continue;
    if (root.kind != Node::Kind::kMap) {
      return invalid(
          fmt::format("{}: expected a mapping, found {}", place_of(root), found_text(root)));
    }
    for (auto& [key, value] : root.fields) {
      const auto same = std::ranges::find(merged.fields, key, &NodeField::key);
      if (same == merged.fields.end()) {
        merged.fields.push_back({std::move(key), std::move(value)});
        continue;
      }
      Node& there = same->value;
      if (there.kind != Node::Kind::kList || value.kind != Node::Kind::kList) {
        return invalid(fmt::format("{}: '{}' stands in {} too; only lists may be split over files",
                                   place_of(value), key, place_of(there)));
      }
      std::ranges::move(value.items, std::back_inserter(there.items));
    }
  }
  return merged;
}

Result<std::vector<std::filesystem::path>> files_of(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::is_directory(path, error)) return std::vector{path};
  std::vector<std::filesystem::path> files;
  for (auto entry = std::filesystem::directory_iterator(path, error);
       !error && entry != std::filesystem::directory_iterator(); entry.increment(error)) {
    const std::string extension = entry->path().extension().string();
    // Kubernetes mounts hidden copies beside the files.
    if (entry->path().filename().string().starts_with('.')) continue;
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") {
      files.push_back(entry->path());
    }
  }
  if (error) return invalid(fmt::format("{}: {}", path.string(), error.message()));
  if (files.empty()) {
    return invalid(fmt::format("{}: no *.yaml, *.yml or *.json files are in it", path.string()));
  }
  if (files.size() > kMaxFiles) {
    return invalid(fmt::format("{}: more than {} files", path.string(), kMaxFiles));
  }
  std::ranges::sort(files);
  return files;
}

}  // namespace

std::string_view error_class_name(ErrorClass each) {
  return kErrorNames[static_cast<size_t>(each)];
}

std::string_view policy_name(Policy policy) {
  constexpr std::array<std::string_view, 5> kNames = {"round_robin", "weighted_round_robin",
                                                      "least_outstanding", "power_of_two",
                                                      "prefix_affinity"};
  return kNames[static_cast<size_t>(policy)];
}

const Upstream* Plan::find_upstream(std::string_view name) const {
  const auto found = std::ranges::find(upstreams, name, &Upstream::name);
  return found == upstreams.end() ? nullptr : &*found;
}

SecretSource system_secrets() {
  return {.environment = [](const std::string& name) -> Result<std::string> {
            const char* value = std::getenv(name.c_str());
            if (value == nullptr) {
              return invalid(fmt::format("the environment has no variable {}", name));
            }
            return std::string(value);
          },
          .file = [](const std::string& path) { return read_file(path, kMaxSecretFileBytes); }};
}

SecretSource SecretFiles::source() {
  std::erase_if(files_, [this](const auto& each) { return each.second.round != round_; });
  ++round_;
  return {.environment = from_.environment,
          .file = [this](const std::string& path) { return read(path); }};
}

Result<std::string> SecretFiles::read(const std::string& path) {
  struct stat info{};
  if (stat(path.c_str(), &info) != 0) {
    files_.erase(path);
    return from_.file(path);
  }
  const auto nanoseconds = [](const timespec& time) {
    return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
  };
  const Look look{.device = info.st_dev,
                  .number = info.st_ino,
                  .size = info.st_size,
                  .modified = nanoseconds(info.st_mtim),
                  .changed = nanoseconds(info.st_ctim)};
  const auto known = files_.find(path);
  if (known != files_.end() && known->second.look == look) {
    known->second.round = round_;
    return known->second.text;
  }
  auto text = from_.file(path);
  files_.erase(path);
  // What is written twice within a tick of the kernel's clock looks the same both times.
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  if (text && nanoseconds(now) - look.changed >= settled_.count()) {
    files_.emplace(path, File{.look = look, .text = *text, .round = round_});
  }
  return text;
}

void read_settings(Fields& fields, const SecretSource& secrets, Plan& plan) {
  std::vector<std::string> addresses;
  fields.texts("listen", addresses, 1);
  for (const std::string& address : addresses) {
    Listener listener;
    if (!read_address(address, listener)) {
      fields.problem("listen", "expected addresses such as 0.0.0.0:8000, found '" + address + "'");
    }
    plan.listeners.push_back(std::move(listener));
  }
  fields.map("server", [&](Fields& server) { read_server(server, plan.server); });
  fields.map("access_log", [&](Fields& log) { log.text("path", plan.access_log.path, 4096); });
  fields.map("cache", [&](Fields& cache) {
    cache.size("max_bytes", plan.cache.max_bytes, 64u << 10, size_t{1} << 40);
  });
  fields.map("usage", [&](Fields& usage) { usage.text("path", plan.usage.path, 4096); });
  fields.map("limits", [&](Fields& f) { read_shared_limits(f, secrets, plan.limits); });
  fields.map("control", [&](Fields& f) { read_control(f, secrets, plan.control.emplace()); });
}

void read_graphs_and_tenants(Fields& fields, const SecretSource& secrets, Plan& plan) {
  fields.list("graphs", kMaxGraphs, [&](Fields& f) { plan.graphs.push_back(read_graph(f)); });
  fields.list("tenants", kMaxTenants,
              [&](Fields& f) { plan.tenants.push_back(read_tenant(f, secrets)); });
}

void check_whole(const Plan& plan, std::span<const Mentions> mentions, Fields& fields) {
  // A control plane may have nothing to serve yet.
  if (plan.routes.empty() && plan.graphs.empty() && !plan.control) {
    fields.problem("", "expected one route at least");
  }
  fields.finish();
  if (fields.problems().empty()) check_references(plan, mentions, fields);
}

Result<Plan> parse_plan(const Node& root, const SecretSource& secrets) {
  Problems problems;
  Fields fields(root, "", problems);
  Plan plan;
  std::vector<Mentions> mentions;
  const auto count = [&](std::string_view list, size_t most) {
    const Node* found = root.find(list);
    return found == nullptr ? 0 : std::min(found->items.size(), most);
  };
  read_settings(fields, secrets, plan);
  plan.upstreams.reserve(count("upstreams", kMaxUpstreams));
  plan.routes.reserve(count("routes", kMaxRoutes));
  mentions.reserve(plan.routes.capacity());
  fields.list("upstreams", kMaxUpstreams,
              [&](Fields& f) { plan.upstreams.push_back(read_upstream(f, secrets)); });
  fields.list("routes", kMaxRoutes, [&](Fields& f) {
    plan.routes.push_back(read_route(f));
    mentions.push_back(mentions_of(f.node()));
  });
  read_graphs_and_tenants(fields, secrets, plan);
  check_whole(plan, mentions, fields);
  SLUICE_RETURN_IF_ERROR(problems.outcome());
  return plan;
}

namespace {

// JSON is YAML too, but its own parser takes a tenth of the time. It knows no lines: for a
// complaint the file is read as YAML.
Result<Node> read_root(const std::filesystem::path& file, std::string_view text,
                       const NodeLimits& limits, bool with_lines) {
  if (!with_lines && file.extension() == ".json") {
    auto root = parse_json_nodes(text, limits);
    if (root) return root;
  }
  return parse_yaml(text, file.string(), limits);
}

Result<Plan> read_plan(const std::filesystem::path& path, const SecretSource& secrets,
                       bool with_lines) {
  SLUICE_ASSIGN_OR_RETURN(const auto files, files_of(path));
  std::vector<Node> roots;
  size_t bytes = 0;
  for (const std::filesystem::path& file : files) {
    const NodeLimits limits;
    SLUICE_ASSIGN_OR_RETURN(const std::string text, read_file(file, limits.max_bytes));
    bytes += text.size();
    if (bytes > limits.max_bytes) {
      return invalid(
          fmt::format("{}: more than {} bytes together", path.string(), limits.max_bytes));
    }
    SLUICE_ASSIGN_OR_RETURN(Node root, read_root(file, text, limits, with_lines));
    roots.push_back(std::move(root));
  }
  SLUICE_ASSIGN_OR_RETURN(const Node root, merge(std::move(roots)));
  return parse_plan(root, secrets);
}

}  // namespace

// A file that many fields name is read once.
SecretSource remembering(const SecretSource& secrets) {
  auto known = std::make_shared<std::unordered_map<std::string, Result<std::string>>>();
  return {.environment = secrets.environment,
          .file = [known, read = secrets.file](const std::string& path) -> Result<std::string> {
            const auto found = known->find(path);
            return found != known->end() ? found->second
                                         : known->emplace(path, read(path)).first->second;
          }};
}

Result<std::shared_ptr<const Plan>> load_plan(const std::filesystem::path& path,
                                              const SecretSource& secrets) {
  auto plan = read_plan(path, remembering(secrets), false);
  if (!plan) plan = read_plan(path, secrets, true);
  if (!plan) return std::unexpected(std::move(plan).error());
  return std::make_shared<const Plan>(*std::move(plan));
}

Result<std::shared_ptr<const Plan>> plan_from_text(std::string_view text, const std::string& file,
                                                   const SecretSource& secrets) {
  const auto read = [&](bool with_lines) -> Result<Plan> {
    SLUICE_ASSIGN_OR_RETURN(const Node root, read_root(file, text, {}, with_lines));
    return parse_plan(root, secrets);
  };
  auto plan = read(false);
  if (!plan) plan = read(true);
  if (!plan) return std::unexpected(std::move(plan).error());
  return std::make_shared<const Plan>(*std::move(plan));
}

Result<std::shared_ptr<const Plan>> plan_from_json(const json::value& value,
                                                   const SecretSource& secrets) {
  SLUICE_ASSIGN_OR_RETURN(const Node root, from_json(value));
  SLUICE_ASSIGN_OR_RETURN(Plan plan, parse_plan(root, secrets));
  return std::make_shared<const Plan>(std::move(plan));
}

std::string plan_stamp(const std::filesystem::path& path) {
  const auto files = files_of(path);
  if (!files) return files.error().message();
  std::string stamp;
  for (const std::filesystem::path& file : *files) {
    std::error_code error;
    const auto size = std::filesystem::file_size(file, error);
    const auto time = std::filesystem::last_write_time(file, error);
    struct stat found{};  // a file that is renamed over it may have its size and time
    stat(file.c_str(), &found);
    stamp += fmt::format("{}:{}:{}:{};", file.string(), size, time.time_since_epoch().count(),
                         found.st_ino);
  }
  return stamp;
}

}  // namespace sluice::plan
