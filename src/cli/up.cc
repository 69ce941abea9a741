#include "cli/up.h"

#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <utility>

#include "base/build_info.h"
#include "base/log.h"
#include "cli/client/kube_config.h"
#include "cli/signals.h"
#include "cli/supervised_part.h"
#include "cli/supervisor.h"
#include "process/proc_info.h"

namespace sluice::cli {
namespace {

namespace fs = std::filesystem;

// Until all is up, readiness is looked for often.
constexpr auto kLook = std::chrono::milliseconds(50);
constexpr auto kFirstLook = std::chrono::milliseconds(5);
constexpr auto kKillPatience = std::chrono::seconds(5);

std::string url_of(std::string_view scheme, const std::string& host, uint16_t port) {
  const std::string name = host == "0.0.0.0" || host == "::" ? "127.0.0.1" : host;
  return name.contains(':') ? fmt::format("{}://[{}]:{}", scheme, name, port)
                            : fmt::format("{}://{}:{}", scheme, name, port);
}

std::vector<std::string> controller_command(const UpOptions& options, const fs::path& data) {
  std::vector<std::string> out = {
      "sluice", "controller", "--data", data.string(),
      "--host", options.host, "--port", std::to_string(options.control_port)};
  const auto more = arguments_of(options.platform);
  out.insert(out.end(), more.begin(), more.end());
  return out;
}

std::vector<std::string> gateway_command(const UpOptions& options, const fs::path& data) {
  std::vector<std::string> out = {"sluice",
                                  "gateway",
                                  "--config",
                                  (data / "gateway.json").string(),
                                  "--host",
                                  options.host,
                                  "--port",
                                  std::to_string(options.port),
                                  "--grpc-port",
                                  std::to_string(options.grpc_port),
                                  "--io-threads",
                                  std::to_string(options.io_threads),
                                  "--shutdown-timeout",
                                  std::to_string(options.platform.shutdown_timeout_seconds),
                                  "--log-level",
                                  options.platform.log_level};
  if (!options.otlp_traces_endpoint.empty()) {
    out.emplace_back("--otlp-traces-endpoint");
    out.push_back(options.otlp_traces_endpoint);
  }
  return out;
}

// `sluice apply` on the manifests, as the one who asked for them would call it.
std::vector<std::string> apply_command(const UpOptions& options, const fs::path& data) {
  std::vector<std::string> out = {
      "sluice",          "apply",     "--kubeconfig", (data / "kubeconfig").string(),
      "--field-manager", "sluice-up", "--wait",       "--timeout",
      options.wait};
  if (options.recursive) out.emplace_back("--recursive");
  for (const std::string& file : options.files) {
    out.emplace_back("--filename");
    out.push_back(file);
  }
  return out;
}

// A child that is neither kept alive nor handed anything.
pid_t launch_once(const std::string& file, const std::vector<std::string>& command) {
  const pid_t child = ::fork();
  if (child != 0) return child;
  ::prctl(PR_SET_PDEATHSIG, SIGTERM);
  ::setpgid(0, 0);
  sigset_t none;
  sigemptyset(&none);
  ::sigprocmask(SIG_SETMASK, &none, nullptr);
  std::vector<char*> arguments;
  arguments.reserve(command.size() + 1);
  for (const std::string& each : command) arguments.push_back(const_cast<char*>(each.c_str()));
  arguments.push_back(nullptr);
  ::execv(file.c_str(), arguments.data());
  std::_Exit(127);
}

// What the parts leave behind when they are killed comes to this process, which is their reaper:
// until nobody is left, or the kernel does not let somebody go.
void kill_everybody() {
  constexpr int kPauseMs = 5;
  const TimePoint until = system_clock().now() + kKillPatience;
  while (system_clock().now() < until) {
    for (const int64_t each : process::children_of(::getpid())) {
      ::kill(static_cast<pid_t>(each), SIGKILL);
    }
    pid_t reaped = 0;
    while ((reaped = ::waitpid(-1, nullptr, WNOHANG)) > 0) {
    }
    if (reaped < 0 && errno == ECHILD) return;
    ::poll(nullptr, 0, kPauseMs);
  }
}

std::vector<net::Fd> alone(net::Fd socket) {
  std::vector<net::Fd> out;
  out.push_back(std::move(socket));
  return out;
}

class Platform {
 public:
  Platform(const UpOptions& options, fs::path data, const std::string& file,
           std::vector<net::Fd> data_sockets, net::Fd control_socket, NotifySocket notify)
      : options_(options),
        data_(std::move(data)),
        file_(file),
        notify_(std::move(notify)),
        signals_(Signals::kSupervising),
        controller_({.name = "controller",
                     .command = controller_command(options, data_),
                     .take_over = TakeOver::kAfter,
                     .leave_signal = SIGUSR2},
                    file, alone(std::move(control_socket)), notify_.name()),
        gateway_({.name = "gateway", .command = gateway_command(options, data_)}, file,
                 std::move(data_sockets), notify_.name()) {}

  int run() {
    controller_.start();
    while (!over()) {
      on_signal(signals_.wait_for(gateway_.ever_ready() ? kLook : kFirstLook));
      while (const auto ready = notify_.next_ready()) on_ready(*ready);
      reap();
      controller_.look_after();
      gateway_.look_after();
      go_on();
    }
    if (!options_.platform.keep_replicas && !killed_) kill_everybody();
    return status();
  }

 private:
  // The gateway needs the plan that the controller writes, so it starts second, and ends first.
  void on_ready(pid_t process) {
    if (controller_.on_ready(process)) {
      if (!ending_ && !std::exchange(gateway_begun_, true)) gateway_.start();
      return;
    }
    const bool first = !gateway_.ever_ready();
    if (gateway_.on_ready(process) && first) {
      if (options_.files.empty()) return tell();
      applying_ = launch_once(file_, apply_command(options_, data_));
      if (applying_ < 0) on_applied(EXIT_FAILURE);
    }
  }

  void tell() const {
    notify_ready();  // systemd's, where it started this process
    const fs::path kubeconfig = data_ / "kubeconfig";
    fmt::print(
        "Sluice {} is up.\n"
        "  data plane     {}\n"
        "  control plane  {}    export KUBECONFIG={}\n"
        "  look           sluice get isvc -A --kubeconfig {}\n",
        kVersion, url_of("http", options_.host, gateway_.port()),
        url_of("https", options_.host, controller_.port()), kubeconfig.string(),
        kubeconfig.string());
    std::fflush(stdout);
  }

  void on_signal(int signal) {
    if (signal == SIGTERM || signal == SIGINT) {
      if (ending_) return kill();
      log_info("signal {}: ending; a second one ends at once", signal);
      end();
    } else if (signal == SIGHUP || signal == SIGUSR1) {
      gateway_.pass_on(signal);
    } else if (signal == SIGUSR2 && !ending_) {
      gateway_.upgrade();
      controller_.upgrade();
    }
  }

  void end() {
    ending_ = true;
    if (applying_ > 0) ::kill(applying_, SIGTERM);
    gateway_.end(SIGTERM);
  }

  void kill() {
    log_warn("second signal: ending without waiting");
    killed_ = true;
    gateway_.end(SIGKILL);
    controller_.end(SIGKILL);
    kill_everybody();
    std::_Exit(1);
  }

  void reap() {
    int how = 0;
    for (pid_t process = 0; (process = ::waitpid(-1, &how, WNOHANG)) > 0;) {
      const int status = exit_status(how);
      if (process == applying_) {
        applying_ = 0;
        on_applied(status);
      } else if (!controller_.on_exit(process, status)) {
        gateway_.on_exit(process, status);  // or a keeper's whose controller has died
      }
    }
  }

  void on_applied(int status) {
    if (ending_) return;
    if (status != 0) {
      log_error("not everything that -f names is there or ready; what is there goes on");
    }
    tell();
  }

  void go_on() {
    // One that could not start has said why; the other one is not wanted then.
    if (!ending_ && (controller_.could_not_start() || gateway_.could_not_start())) {
      failed_ = true;
      end();
    }
    if (ending_ && gateway_.idle() && !std::exchange(controller_ending_, true)) {
      controller_.end(options_.platform.keep_replicas ? SIGUSR2 : SIGTERM);
    }
  }

  bool over() const { return ending_ && gateway_.idle() && controller_.ended(); }

  int status() const {
    if (failed_) return 1;
    return gateway_.status() != 0 ? gateway_.status() : controller_.status();
  }

  const UpOptions& options_;
  const fs::path data_;
  const std::string file_;
  NotifySocket notify_;
  const Signals signals_;
  SupervisedPart controller_;
  SupervisedPart gateway_;
  pid_t applying_ = 0;
  bool gateway_begun_ = false;
  bool ending_ = false;
  bool controller_ending_ = false;
  bool failed_ = false;
  bool killed_ = false;
};

Result<fs::path> make_data_folder(const UpOptions& options) {
  fs::path data =
      fs::absolute(options.data.empty() ? fs::path(default_data_folder()) : fs::path(options.data));
  std::error_code error;
  fs::create_directories(data, error);
  if (error) {
    return fail(Code::kPermissionDenied,
                fmt::format("cannot make the folder {}: {}", data.string(), error.message()));
  }
  fs::permissions(data, fs::perms::owner_all, error);
  return data;
}

Outcome check_files(const UpOptions& options) {
  for (const std::string& file : options.files) {
    std::error_code error;
    if (file == "-" || fs::exists(file, error)) continue;
    return fail(Code::kNotFound, fmt::format("{}: there is no such file or folder", file));
  }
  return {};
}

Result<int> up(UpOptions options) {
  SLUICE_RETURN_IF_ERROR(check_files(options));
  SLUICE_ASSIGN_OR_RETURN(const std::string file, own_program());
  SLUICE_ASSIGN_OR_RETURN(fs::path data, make_data_folder(options));
  SLUICE_ASSIGN_OR_RETURN(
      std::vector<net::Fd> data_sockets,
      listen_for(options.host, static_cast<uint16_t>(options.port), options.grpc_port));
  SLUICE_ASSIGN_OR_RETURN(
      net::Fd control_socket,
      net::listen_on(options.host, static_cast<uint16_t>(options.control_port)));
  options.platform.gateway_port = net::local_port(data_sockets.front().get());
  SLUICE_ASSIGN_OR_RETURN(NotifySocket notify, NotifySocket::open());
  // Keepers whose controller died become this process's children, and are not lost.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1);
  ::setenv(kUnderUp, "1", 1);
  return Platform(options, std::move(data), file, std::move(data_sockets),
                  std::move(control_socket), std::move(notify))
      .run();
}

}  // namespace

int run_up(const UpOptions& options) {
  const auto level = parse_log_level(options.platform.log_level);
  if (!level) {
    log_error("{}", level.error().message());
    return 2;
  }
  set_log_level(*level);
  const auto status = up(options);
  if (status) return *status;
  log_error("{}", status.error().message());
  return 1;
}

}  // namespace sluice::cli
