#include "cli/controller.h"

#include <cstdlib>
#include <filesystem>
#include <string_view>

#include "base/build_info.h"
#include "base/log.h"
#include "cli/drain.h"
#include "cli/http_metrics.h"
#include "cli/signals.h"
#include "control/control_plane.h"
#include "control/credentials.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

std::string_view environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? std::string_view() : std::string_view(value);
}

fs::path data_folder(const ControllerOptions& options) {
  if (!options.data.empty()) return options.data;
  if (const auto state = environment("XDG_STATE_HOME"); !state.empty()) {
    return fs::path(state) / "sluice" / "control";
  }
  const auto home = environment("HOME");
  return fs::path(home.empty() ? "/var/lib" : home) / ".local" / "state" / "sluice" / "control";
}

}  // namespace

int run_controller(const ControllerOptions& options) {
  const auto level = parse_log_level(options.log_level);
  if (!level) {
    log_error("{}", level.error().message());
    return 2;
  }
  set_log_level(*level);
  const Signals signals;
  const control::ControlOptions control{.folder = data_folder(options),
                                        .host = options.host,
                                        .port = static_cast<uint16_t>(options.port),
                                        .policy = {.allowed_commands = options.allowed_commands}};
  auto plane = control::ControlPlane::start(control);
  if (!plane) {
    log_error("{}", plane.error().message());
    return 1;
  }
  report_http((*plane)->metrics(), [&plane] { return (*plane)->stats(); });
  log_info("sluice {} control plane serves on https://{}:{}", kVersion, options.host,
           (*plane)->port());
  log_info("use it: export KUBECONFIG={}",
           control::kubeconfig_path(control.folder, control::Role::kAdmin).string());
  const int signal = signals.wait();
  log_info("signal {}: draining", signal);
  return drain_or_exit([&](Duration patience) { return (*plane)->drain(patience); }, signals,
                       options.shutdown_timeout_seconds);
}

}  // namespace sluice::cli
