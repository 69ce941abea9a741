#include "process/keeper_order.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "base/json.h"
#include "process/json_fields.h"

namespace sluice::process {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;

constexpr int kVersion = 1;
constexpr size_t kMaxArguments = 4096;
constexpr size_t kMaxArgumentBytes = (128u << 10) - 1;  // MAX_ARG_STRLEN of Linux, less the NUL
constexpr size_t kMaxTogetherBytes = 1u << 20;          // arguments and environment
constexpr size_t kMaxVariables = 4096;
constexpr size_t kMaxPathBytes = 4096;
constexpr size_t kMaxHeaders = 64;
constexpr size_t kMaxHeaderBytes = 8192;
constexpr uint64_t kMaxMemory = uint64_t{1} << 60;
constexpr uint64_t kMinMemory = 1u << 20;
constexpr double kMaxCpus = 65536;
constexpr Duration kLongest = hours(24);
constexpr int kMaxThreshold = 100'000;
constexpr uint64_t kMaxLogBytes = uint64_t{1} << 40;
constexpr uint64_t kMinLogBytes = 4096;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_line(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c == '\r' || c == '\n' || c == '\0'; });
}

std::unexpected<Status> bad(std::string_view field, std::string_view what) {
  return invalid(fmt::format("{}: {}", field, what), std::string(field));
}

Outcome check_times(std::string_view field, Duration value, Duration low) {
  if (value >= low && value <= kLongest) return {};
  return bad(field, fmt::format("expected {} s to {} s, found {} s", to_seconds(low),
                                to_seconds(kLongest), to_seconds(value)));
}

Outcome check_probe(const Probe& probe, const std::string& where) {
  const std::string& path = probe.path;
  const bool printable =
      std::ranges::all_of(path, [](unsigned char c) { return c > 0x20 && c != 0x7F; });
  if (probe.kind == Probe::Kind::kHttp &&
      (!path.starts_with('/') || path.size() > kMaxPathBytes || !printable)) {
    return bad(where + "path", "expected a path that begins with '/', without spaces");
  }
  if (probe.headers.size() > kMaxHeaders) return bad(where + "headers", "at most 64");
  for (const auto& [name, value] : probe.headers) {
    if (name.empty() || name.size() + value.size() > kMaxHeaderBytes || !is_line(name) ||
        !is_line(value)) {
      return bad(where + "headers", "expected names and values of one line, at most 8192 bytes");
    }
  }
  SLUICE_RETURN_IF_ERROR(check_times(where + "initial_delay", probe.initial_delay, Duration(0)));
  SLUICE_RETURN_IF_ERROR(check_times(where + "period", probe.period, milliseconds(1)));
  SLUICE_RETURN_IF_ERROR(check_times(where + "timeout", probe.timeout, milliseconds(1)));
  const auto sound = [](int count) { return count >= 1 && count <= kMaxThreshold; };
  if (!sound(probe.success_threshold)) return bad(where + "success_threshold", "at least 1");
  if (!sound(probe.failure_threshold)) return bad(where + "failure_threshold", "at least 1");
  return {};
}

Outcome check_command(const ReplicaSpec& spec) {
  size_t together = 0;
  if (spec.command.empty() || spec.command[0].empty()) {
    return bad("command", "expected a program and its arguments");
  }
  if (spec.command.size() > kMaxArguments) return bad("command", "at most 4096 arguments");
  for (const std::string& each : spec.command) {
    together += each.size() + 1;
    if (each.size() > kMaxArgumentBytes || each.contains('\0')) {
      return bad("command", "expected arguments of at most 128 KiB without NUL");
    }
  }
  if (spec.environment.size() > kMaxVariables) return bad("environment", "at most 4096 variables");
  for (const auto& [name, value] : spec.environment) {
    together += name.size() + value.size() + 2;
    if (name.empty() || name.contains('=') || name.contains('\0')) {
      return bad("environment", "expected names without '=', at least one character");
    }
    if (name.size() + value.size() + 1 > kMaxArgumentBytes || value.contains('\0')) {
      return bad("environment", fmt::format("{}: expected at most 128 KiB without NUL", name));
    }
  }
  if (together > kMaxTogetherBytes) {
    return bad("command", fmt::format("with the environment it has {} bytes; at most {}", together,
                                      kMaxTogetherBytes));
  }
  return {};
}

// Files are JSON, which holds UTF-8 only.
Outcome check_texts(const ReplicaSpec& spec) {
  std::string all;
  const auto add = [&all](std::string_view text) {
    all += '\n';
    all += text;
  };
  for (const std::string& each : spec.command) add(each);
  for (const auto& [name, value] : spec.environment) add(name), add(value);
  for (const auto* probe : {&spec.startup, &spec.readiness, &spec.liveness}) {
    if (!*probe) continue;
    add((*probe)->path);
    for (const auto& [name, value] : (*probe)->headers) add(name), add(value);
  }
  add(spec.working_folder);
  // Boost.JSON checks UTF-8 as it reads, and escapes only what it must as it writes.
  const std::string quoted = to_json(json::value(json::string(all)));
  if (parse_json(quoted, {.max_bytes = quoted.size(), .max_depth = 1, .max_nodes = 1})) return {};
  return bad("command", "it, the environment, paths and headers must be UTF-8");
}

json::object probe_json(const Probe& probe) {
  const auto ms = [](Duration d) { return std::chrono::ceil<milliseconds>(d).count(); };
  json::object out{{"kind", probe.kind == Probe::Kind::kHttp ? "http" : "tcp"},
                   {"path", probe.path},
                   {"https", probe.https},
                   {"initial_delay_ms", ms(probe.initial_delay)},
                   {"period_ms", ms(probe.period)},
                   {"timeout_ms", ms(probe.timeout)},
                   {"success_threshold", probe.success_threshold},
                   {"failure_threshold", probe.failure_threshold}};
  json::array& headers = out["headers"].emplace_array();
  for (const auto& [name, value] : probe.headers) headers.push_back(json::array{name, value});
  return out;
}

void read_pairs(JsonFields& f, std::string_view name, size_t max_items, size_t max_bytes,
                std::vector<std::pair<std::string, std::string>>& out) {
  const json::array* items = f.list(name, max_items);
  if (items == nullptr) return;
  for (const json::value& item : *items) {
    const json::array* pair = item.if_array();
    const bool good = pair != nullptr && pair->size() == 2 && (*pair)[0].is_string() &&
                      (*pair)[1].is_string() && (*pair)[0].get_string().size() <= max_bytes &&
                      (*pair)[1].get_string().size() <= max_bytes;
    if (!good) return f.problem(name, "expected pairs of strings");
    out.emplace_back((*pair)[0].get_string(), (*pair)[1].get_string());
  }
}

void read_probe(JsonFields& f, std::string_view name, std::optional<Probe>& out) {
  const json::value* value = f.find(name);
  if (value == nullptr) return;
  Probe& probe = out.emplace();
  JsonFields p(*value, f.path(name) + ".");
  std::string kind = "http";
  p.text("kind", kind, 8);
  if (kind != "http" && kind != "tcp") p.problem("kind", "expected http or tcp");
  probe.kind = kind == "tcp" ? Probe::Kind::kTcp : Probe::Kind::kHttp;
  p.text("path", probe.path, kMaxPathBytes);
  p.boolean("https", probe.https);
  read_pairs(p, "headers", kMaxHeaders, kMaxHeaderBytes, probe.headers);
  p.milliseconds("initial_delay_ms", probe.initial_delay, kLongest);
  p.milliseconds("period_ms", probe.period, kLongest);
  p.milliseconds("timeout_ms", probe.timeout, kLongest);
  p.integer("success_threshold", probe.success_threshold, 1, kMaxThreshold);
  p.integer("failure_threshold", probe.failure_threshold, 1, kMaxThreshold);
  f.take(p.finish());
}

json::object spec_json(const ReplicaSpec& spec) {
  json::object out{{"id", spec.id},
                   {"command", json::array(spec.command.begin(), spec.command.end())},
                   {"working_folder", spec.working_folder},
                   {"takes_socket", spec.takes_socket},
                   {"memory_bytes", spec.memory_bytes},
                   {"cpus", spec.cpus},
                   {"grace_ms", std::chrono::ceil<milliseconds>(spec.grace).count()}};
  json::array& environment = out["environment"].emplace_array();
  for (const auto& [name, value] : spec.environment) {
    environment.push_back(json::array{name, value});
  }
  if (spec.startup) out["startup"] = probe_json(*spec.startup);
  if (spec.readiness) out["readiness"] = probe_json(*spec.readiness);
  if (spec.liveness) out["liveness"] = probe_json(*spec.liveness);
  return out;
}

Outcome read_spec(const json::value& value, ReplicaSpec& out) {
  JsonFields f(value, "replica.");
  for (const char* name : {"id", "command"}) f.require(name);
  f.text("id", out.id, kMaxIdBytes);
  f.texts("command", out.command, kMaxArguments, kMaxArgumentBytes);
  read_pairs(f, "environment", kMaxVariables, kMaxArgumentBytes, out.environment);
  f.text("working_folder", out.working_folder, kMaxPathBytes);
  f.boolean("takes_socket", out.takes_socket);
  f.unsigned_integer("memory_bytes", out.memory_bytes, kMaxMemory);
  f.number("cpus", out.cpus, 0, kMaxCpus);
  f.milliseconds("grace_ms", out.grace, kLongest);
  read_probe(f, "startup", out.startup);
  read_probe(f, "readiness", out.readiness);
  read_probe(f, "liveness", out.liveness);
  return f.finish();
}

Outcome read_logs(const json::value& value, LogLimits& out) {
  JsonFields f(value, "logs.");
  f.unsigned_integer("file_bytes", out.file_bytes, kMaxLogBytes);
  f.integer("files", out.files, 0, 100);
  f.unsigned_integer("bytes_per_second", out.bytes_per_second, kMaxLogBytes);
  f.unsigned_integer("burst_bytes", out.burst_bytes, kMaxLogBytes);
  if (out.file_bytes < kMinLogBytes) f.problem("file_bytes", "at least 4096");
  if (out.burst_bytes < kMinLogBytes) f.problem("burst_bytes", "at least 4096");
  return f.finish();
}

}  // namespace

bool is_replica_id(std::string_view id) {
  return !id.empty() && id.size() <= kMaxIdBytes && id[0] != '.' &&
         std::ranges::all_of(id, [](char c) { return is_alphanumeric(c) || c == '-' || c == '.'; });
}

Outcome check_spec(const ReplicaSpec& spec) {
  if (!is_replica_id(spec.id)) {
    return bad("id", "expected 1 to 200 letters, digits, '-' and '.', the first no '.'");
  }
  SLUICE_RETURN_IF_ERROR(check_command(spec));
  SLUICE_RETURN_IF_ERROR(check_texts(spec));
  const std::string& folder = spec.working_folder;
  if (!folder.empty() &&
      (!folder.starts_with('/') || folder.size() > kMaxPathBytes || folder.contains('\0'))) {
    return bad("working_folder", "expected a path from the root");
  }
  if (spec.memory_bytes > kMaxMemory || (spec.memory_bytes > 0 && spec.memory_bytes < kMinMemory)) {
    return bad("memory_bytes",
               fmt::format("expected 0 (no limit) or at least 1 MiB, found {}", spec.memory_bytes));
  }
  if (!(spec.cpus >= 0 && spec.cpus <= kMaxCpus)) {
    return bad("cpus", fmt::format("expected 0 (no limit) to {}, found {}", kMaxCpus, spec.cpus));
  }
  SLUICE_RETURN_IF_ERROR(check_times("grace", spec.grace, Duration(0)));
  if (spec.startup) SLUICE_RETURN_IF_ERROR(check_probe(*spec.startup, "startup."));
  if (spec.readiness) SLUICE_RETURN_IF_ERROR(check_probe(*spec.readiness, "readiness."));
  if (spec.liveness) SLUICE_RETURN_IF_ERROR(check_probe(*spec.liveness, "liveness."));
  return {};
}

std::string order_text(const KeeperOrder& order) {
  const json::object logs{{"file_bytes", order.logs.file_bytes},
                          {"files", order.logs.files},
                          {"bytes_per_second", order.logs.bytes_per_second},
                          {"burst_bytes", order.logs.burst_bytes}};
  return to_json(json::object{{"version", kVersion},
                              {"token", order.token},
                              {"control_groups", order.control_groups},
                              {"logs", logs},
                              {"replica", spec_json(order.spec)}}) +
         "\n";
}

Result<KeeperOrder> parse_order(std::string_view text) {
  SLUICE_ASSIGN_OR_RETURN(
      const json::value value,
      parse_json(text, {.max_bytes = kMaxOrderBytes, .max_depth = 8, .max_nodes = 40'000}));
  KeeperOrder order;
  JsonFields f(value, "");
  for (const char* name : {"version", "token", "replica"}) f.require(name);
  int version = kVersion;
  f.integer("version", version, kVersion, kVersion);
  f.text("token", order.token, kMaxTokenBytes);
  if (order.token.empty() || !std::ranges::all_of(order.token, is_alphanumeric)) {
    f.problem("token", "expected letters and digits");
  }
  f.boolean("control_groups", order.control_groups);
  if (const json::value* logs = f.find("logs")) f.take(read_logs(*logs, order.logs));
  if (const json::value* spec = f.find("replica")) f.take(read_spec(*spec, order.spec));
  SLUICE_RETURN_IF_ERROR(f.finish());
  SLUICE_RETURN_IF_ERROR(check_spec(order.spec));
  return order;
}

}  // namespace sluice::process
