#include "cli/platform_flags.h"

#include <fmt/format.h>

namespace sluice::cli {

std::vector<std::string> arguments_of(const PlatformFlags& options) {
  const PlatformFlags standard;
  std::vector<std::string> out;
  const auto add = [&out](std::string name, const std::string& value) {
    out.push_back(std::move(name));
    out.push_back(value);
  };
  add("--gateway-host", options.gateway_host);
  add("--gateway-port", std::to_string(options.gateway_port));
  if (options.metrics_public) out.emplace_back("--metrics-public");
  if (options.allowed_commands != standard.allowed_commands) {
    for (const std::string& each : options.allowed_commands) add("--allow-command", each);
  }
  if (!options.replicas_memory.empty()) add("--replicas-memory", options.replicas_memory);
  if (options.replicas_cpus > 0) {
    add("--replicas-cpus", fmt::format("{}", options.replicas_cpus));
  }
  for (const std::string& each : options.volumes) add("--pvc", each);
  if (options.keep_replicas) out.emplace_back("--keep-replicas");
  if (options.spot != standard.spot) add("--spot-notice", options.spot);
  if (!options.spot_url.empty()) add("--spot-url", options.spot_url);
  if (!options.spot_file.empty()) add("--spot-file", options.spot_file);
  add("--shutdown-timeout", std::to_string(options.shutdown_timeout_seconds));
  add("--log-level", options.log_level);
  return out;
}

}  // namespace sluice::cli
