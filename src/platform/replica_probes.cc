#include "platform/replica_probes.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "control/json_util.h"

namespace sluice::platform {
namespace {

using control::integer_at;
using control::object_at;
using control::text_at;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr int64_t kMaxSeconds = 86'400;
constexpr int64_t kMaxCount = 100'000;

const json::object* find_port(const json::object& container, std::string_view name) {
  const auto* ports = control::array_at(container, "ports");
  for (size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    const auto* port = (*ports)[i].if_object();
    if (port != nullptr && text_at(*port, "name") == name) return port;
  }
  return nullptr;
}

std::unexpected<Status> wrong_port(std::string_view field, std::string_view port, int64_t main) {
  return fail(Code::kInvalidArgument,
              fmt::format("{} asks the port {}; a replica serves at its main port only, which the "
                          "container calls {}",
                          field, port, main),
              std::string(field), "InvalidPredictorSpec");
}

// A replica has one port, whatever number the container gives it.
Outcome check_port(const json::object& container, std::string_view field,
                   const json::object& action) {
  const auto main = main_port(container);
  const json::value* port = action.if_contains("port");
  if (port == nullptr || !main) return {};
  int64_t asked = 0;
  std::string shown;
  if (const auto* name = port->if_string()) {
    shown = fmt::format("\"{}\"", std::string_view(*name));
    const auto* found = find_port(container, *name);
    if (found != nullptr) asked = integer_at(*found, "containerPort").value_or(0);
    if (std::string_view(*name) == fmt::format("{}", *main)) asked = *main;
  } else if (const auto* number = port->if_int64()) {
    asked = *number;
    shown = fmt::format("{}", asked);
  }
  if (asked == *main) return {};
  return wrong_port(field, shown, *main);
}

Duration seconds_at(const json::object& probe, std::string_view field, int64_t fallback) {
  return seconds(std::clamp<int64_t>(integer_at(probe, field).value_or(fallback), 0, kMaxSeconds));
}

int count_at(const json::object& probe, std::string_view field, int64_t fallback) {
  return static_cast<int>(
      std::clamp<int64_t>(integer_at(probe, field).value_or(fallback), 1, kMaxCount));
}

void read_http(const json::object& action, process::Probe& out) {
  out.kind = process::Probe::Kind::kHttp;
  out.path = text_at(action, "path");
  if (!out.path.starts_with('/')) out.path.insert(0, "/");
  out.https = text_at(action, "scheme") == "HTTPS";
  const auto* headers = control::array_at(action, "httpHeaders");
  for (size_t i = 0; headers != nullptr && i < headers->size(); ++i) {
    const auto* header = (*headers)[i].if_object();
    if (header == nullptr) continue;
    out.headers.emplace_back(text_at(*header, "name"), text_at(*header, "value"));
  }
}

}  // namespace

std::optional<int64_t> main_port(const json::object& container) {
  const auto* ports = control::array_at(container, "ports");
  std::optional<int64_t> first;
  for (size_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    const auto* port = (*ports)[i].if_object();
    if (port == nullptr) continue;
    const std::string_view protocol = text_at(*port, "protocol");
    const auto number = integer_at(*port, "containerPort");
    if (!number || (!protocol.empty() && protocol != "TCP")) continue;
    if (text_at(*port, "name").starts_with("http")) return number;
    if (!first) first = number;
  }
  return first;
}

Result<std::optional<process::Probe>> replica_probe(const json::object& container,
                                                    std::string_view field) {
  const auto* probe = object_at(container, field);
  if (probe == nullptr) return std::nullopt;
  const auto* http = object_at(*probe, "httpGet");
  const auto* tcp = object_at(*probe, "tcpSocket");
  if (http == nullptr && tcp == nullptr) return std::nullopt;
  SLUICE_RETURN_IF_ERROR(check_port(container, field, http != nullptr ? *http : *tcp));
  process::Probe out;
  if (http != nullptr) {
    read_http(*http, out);
  } else {
    out.kind = process::Probe::Kind::kTcp;
    out.path.clear();
  }
  out.initial_delay = seconds_at(*probe, "initialDelaySeconds", 0);
  out.period = std::max<Duration>(seconds(1), seconds_at(*probe, "periodSeconds", 10));
  out.timeout = std::max<Duration>(seconds(1), seconds_at(*probe, "timeoutSeconds", 1));
  out.success_threshold = count_at(*probe, "successThreshold", 1);
  out.failure_threshold = count_at(*probe, "failureThreshold", 3);
  return out;
}

void add_sluice_probes(process::ReplicaSpec& spec) {
  // A small model is ready in some tens of milliseconds, and requests may be waiting for it.
  if (!spec.startup) {
    spec.startup = process::Probe{.path = "/ready",
                                  .headers = {},
                                  .period = milliseconds(20),
                                  .timeout = seconds(2),
                                  .failure_threshold = 90'000};  // half an hour
  }
  if (!spec.readiness) {
    spec.readiness = process::Probe{
        .path = "/ready", .headers = {}, .period = seconds(1), .timeout = seconds(2)};
  }
  // A machine under load answers late, and a replica that is killed for it makes that worse.
  if (!spec.liveness) {
    spec.liveness = process::Probe{.path = "/health",
                                   .headers = {},
                                   .period = seconds(5),
                                   .timeout = seconds(5),
                                   .failure_threshold = 6};
  }
}

}  // namespace sluice::platform
