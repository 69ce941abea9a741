#include "cli/controller.h"

#include <fmt/format.h>

#include <chrono>
#include <condition_variable>
#include <csignal>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <utility>

#include "base/build_info.h"
#include "base/log.h"
#include "base/memory_info.h"
#include "base/sizes.h"
#include "cli/client/kube_config.h"
#include "cli/drain.h"
#include "cli/http_metrics.h"
#include "cli/replica_metrics.h"
#include "cli/service_metrics.h"
#include "cli/signals.h"
#include "cli/spot_drain.h"
#include "cli/supervisor.h"
#include "control/control_plane.h"
#include "control/credentials.h"
#include "formats/model_source.h"
#include "kernels/isa.h"
#include "model/model.h"
#include "platform/model_store.h"
#include "platform/platform.h"
#include "platform/process_backend.h"
#include "platform/views.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

constexpr auto kPlanPatience = std::chrono::seconds(10);
constexpr std::chrono::milliseconds kPlanLook{2};

fs::path data_folder(const ControllerOptions& options) {
  return options.data.empty() ? fs::path(default_data_folder()) : fs::path(options.data);
}

// Where the bundled model lies, beside the program of a package or of a build; empty: nowhere.
fs::path bundled_models() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error).parent_path();
  for (const fs::path& folder : {program / "../share/sluice/models", program / "../../models",
                                 program / "../../../models"}) {
    if (fs::exists(folder / "story.gguf", error)) return fs::weakly_canonical(folder, error);
  }
  return {};
}

// NAME=FOLDER of pvc://NAME/…
Result<std::map<std::string, fs::path>> volumes_of(const PlatformFlags& flags) {
  std::map<std::string, fs::path> out;
  if (fs::path bundled = bundled_models(); !bundled.empty()) out["models"] = std::move(bundled);
  for (const std::string& each : flags.volumes) {
    const size_t equals = each.find('=');
    std::error_code error;
    if (equals == 0 || equals == std::string::npos) {
      return invalid(fmt::format("--pvc {}: expected NAME=FOLDER", each));
    }
    const fs::path folder = fs::absolute(each.substr(equals + 1));
    if (!fs::is_directory(folder, error)) {
      return invalid(fmt::format("--pvc {}: {} is no folder", each, folder.string()));
    }
    out[each.substr(0, equals)] = folder;
  }
  return out;
}

Result<platform::PlatformOptions> platform_options(const PlatformFlags& flags,
                                                   const fs::path& data) {
  platform::PlatformOptions out{.folder = data,
                                .sluice_program = {},
                                .gateway_host = flags.gateway_host,
                                .gateway_port = static_cast<uint16_t>(flags.gateway_port)};
  out.plan_base = {{"usage", json::object{{"path", (data / "usage.db").string()}}}};
  if (flags.metrics_public) out.plan_base["server"] = json::object{{"metrics_public", true}};
  SLUICE_ASSIGN_OR_RETURN(auto volumes, volumes_of(flags));
  auto cache = registry::ModelCache::of_environment();
  out.models = std::make_shared<platform::ModelStoreOptions>(platform::ModelStoreOptions{
      .cache = cache ? *std::move(cache) : registry::ModelCache(data / "models"),
      .volumes = std::move(volumes)});
  out.check_model = [](const std::string& path) -> Result<int64_t> {
    SLUICE_ASSIGN_OR_RETURN(const auto source, formats::open_model(path));
    return model::weight_memory_bytes(*source, kernels::best_isa());
  };
  return out;
}

Result<std::unique_ptr<platform::ProcessBackend>> open_backend(const PlatformFlags& flags,
                                                               const fs::path& data) {
  platform::ProcessBackendOptions options;
  options.folder = data / "replicas";
  if (!flags.replicas_memory.empty()) {
    SLUICE_ASSIGN_OR_RETURN(const int64_t bytes, parse_size(flags.replicas_memory));
    options.memory_bytes = static_cast<uint64_t>(bytes);
  }
  if (flags.replicas_cpus > 0) options.cpus = flags.replicas_cpus;
  return platform::ProcessBackend::open(std::move(options));
}

// Where processes of this machine reach a server that listens there. `sluice up` has the gateway
// listen where the controller does.
std::string reached_at(const std::string& host) {
  if (host.empty() || host == "0.0.0.0" || host == "::") return "127.0.0.1";
  return host.contains(':') ? fmt::format("[{}]", host) : host;
}

// Each answers what it has begun. False: some had to be killed and are not gone yet.
bool end_replicas(platform::ReplicaBackend& backend, Duration patience) {
  constexpr auto kLook = std::chrono::milliseconds(50);
  const TimePoint until = system_clock().now() + patience;
  std::mutex mutex;
  std::condition_variable changed;
  while (true) {
    size_t living = 0;
    for (const platform::ReplicaView& each : backend.list()) {
      if (each.phase == platform::ReplicaPhase::kExited) {
        backend.forget(each.id);
        continue;
      }
      ++living;
      if (system_clock().now() >= until) {
        backend.kill(each.id);
      } else if (each.phase != platform::ReplicaPhase::kDraining) {
        backend.drain(each.id);
      }
    }
    if (living == 0) return true;
    if (system_clock().now() >= until + std::chrono::seconds(5)) return false;
    std::unique_lock lock(mutex);
    changed.wait_for(lock, kLook);
  }
}

// What runs while the controller does, in the order in which it ends: the platform first.
class Controller {
 public:
  static Result<std::unique_ptr<Controller>> start(const ControllerOptions& options) {
    std::unique_ptr<Controller> self(new Controller(options));
    SLUICE_RETURN_IF_ERROR(self->open());
    return self;
  }

  ~Controller() {
    spot_.reset();
    if (plane_) {
      plane_->set_admin_call({});
      plane_->set_replica_logs({});
      plane_->set_replica_metrics({});
      plane_->set_more_metrics({});
    }
    platform_.reset();
  }

  uint16_t port() const { return plane_->port(); }

  // The gateway can start: there is a plan.
  bool has_plan() const {
    std::error_code error;
    return fs::exists(platform_->plan_file(), error);
  }

  // The replicas go on, for a successor.
  bool hand_over(Duration patience) {
    platform_.reset();
    return plane_->drain(patience);
  }

  // The replicas end first: nobody looks after them any more.
  bool drain(Duration patience) {
    platform_.reset();
    const bool ended = end_replicas(*backend_, patience);
    return plane_->drain(std::chrono::seconds(1)) && ended;
  }

 private:
  explicit Controller(const ControllerOptions& options)
      : options_(options), data_(fs::absolute(data_folder(options))) {}

  Outcome open() {
    control::ControlOptions control{
        .folder = data_,
        .host = options_.host,
        .port = static_cast<uint16_t>(options_.port),
        .listen_fd = take_inherited_socket(),
        .policy = {.allowed_commands = options_.platform.allowed_commands}};
    SLUICE_ASSIGN_OR_RETURN(plane_, control::ControlPlane::start(control));
    report_http(plane_->metrics(), [this] { return plane_->stats(); });
    SLUICE_ASSIGN_OR_RETURN(backend_, open_backend(options_.platform, data_));
    SLUICE_ASSIGN_OR_RETURN(auto settings, platform_options(options_.platform, data_));
    settings.gateway_address = reached_at(options_.host);
    SLUICE_ASSIGN_OR_RETURN(platform_,
                            platform::Platform::start(*plane_, *backend_, std::move(settings)));
    plane_->set_replica_logs([this](const control::ObjectKey& replica, size_t max_bytes) {
      return backend_->log_tail(platform::replica_id(replica.ns, replica.name), max_bytes);
    });
    SLUICE_ASSIGN_OR_RETURN(metrics_, ReplicaMetrics::open(data_));
    plane_->set_replica_metrics(
        [this](const control::ObjectPtr& replica, const std::shared_ptr<net::Responder>& to) {
          metrics_->answer(replica, to);
        });
    plane_->set_more_metrics([this] { return service_metrics(plane_->objects().store()); });
    SLUICE_ASSIGN_OR_RETURN(spot_, SpotDrain::start(options_.platform, *plane_));
    return {};
  }

  const ControllerOptions& options_;
  const fs::path data_;
  std::unique_ptr<control::ControlPlane> plane_;
  std::unique_ptr<platform::ProcessBackend> backend_;
  std::unique_ptr<platform::Platform> platform_;
  std::unique_ptr<ReplicaMetrics> metrics_;
  std::unique_ptr<SpotDrain> spot_;
};

}  // namespace

int run_controller(const ControllerOptions& options) {
  const auto level = parse_log_level(options.platform.log_level);
  if (!level) {
    log_error("{}", level.error().message());
    return 2;
  }
  set_log_level(*level);
  const Signals signals(Signals::kHandingOver);
  auto controller = Controller::start(options);
  if (!controller) {
    log_error("{}", controller.error().message());
    return 1;
  }
  log_info("sluice {} control plane serves on https://{}:{}", kVersion, options.host,
           (*controller)->port());
  log_info("use it: export KUBECONFIG={}",
           control::kubeconfig_path(data_folder(options), control::Role::kAdmin).string());
  int signal = 0;
  for (const TimePoint until = system_clock().now() + kPlanPatience;
       signal == 0 && !(*controller)->has_plan() && system_clock().now() < until;) {
    signal = signals.wait_for(kPlanLook);
  }
  if (signal == 0) notify_ready();
  give_back_start_pages();
  if (signal == 0) signal = signals.wait();
  const bool leave = signal == SIGUSR2 || options.platform.keep_replicas;
  log_info("signal {}: {}", signal, leave ? "ending; the replicas go on" : "draining the replicas");
  return drain_or_exit(
      [&](Duration patience) {
        return leave ? (*controller)->hand_over(patience) : (*controller)->drain(patience);
      },
      signals, options.platform.shutdown_timeout_seconds);
}

}  // namespace sluice::cli
