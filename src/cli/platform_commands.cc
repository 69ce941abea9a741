#include "cli/platform_commands.h"

#include <memory>

#include "cli/controller.h"
#include "cli/platform_flags.h"
#include "cli/up.h"

namespace sluice::cli {
namespace {

void add_platform_flags(CLI::App& app, PlatformFlags& o) {
  app.add_option("--allow-command", o.allowed_commands,
                 "Program that a runtime may name without the role admin; repeat it for several")
      ->envname("SLUICE_ALLOW_COMMAND")
      ->capture_default_str();
  app.add_option("--replicas-memory", o.replicas_memory,
                 "Memory of all replicas together, such as 12G (default: nine tenths of what is "
                 "there)")
      ->envname("SLUICE_REPLICAS_MEMORY");
  app.add_option("--replicas-cpus", o.replicas_cpus,
                 "Cores of all replicas together (0: as many as there are)")
      ->envname("SLUICE_REPLICAS_CPUS")
      ->check(CLI::Range(0.0, 65536.0))
      ->capture_default_str();
  app.add_flag("--metrics-public", o.metrics_public, "The gateway's /metrics without a key")
      ->envname("SLUICE_METRICS_PUBLIC");
  app.add_option("--pvc,--volume", o.volumes,
                 "NAME=FOLDER: where pvc://NAME/… lies; repeat it for several (models: the "
                 "bundled model's folder, unless it is named here)")
      ->envname("SLUICE_PVC");
  app.add_flag("--keep-replicas", o.keep_replicas,
               "Replicas go on when the platform ends, and are taken over by the next one")
      ->envname("SLUICE_KEEP_REPLICAS");
  app.add_option("--spot-notice", o.spot,
                 "Whose metadata service says that this machine is taken back")
      ->envname("SLUICE_SPOT_NOTICE")
      ->check(CLI::IsMember({"none", "aws", "gcp", "azure"}))
      ->capture_default_str();
  app.add_option("--spot-url", o.spot_url, "Address of that service (default: the cloud's own)")
      ->envname("SLUICE_SPOT_URL");
  app.add_option("--spot-file", o.spot_file, "File that says so when it appears")
      ->envname("SLUICE_SPOT_FILE");
  app.add_option("--shutdown-timeout", o.shutdown_timeout_seconds,
                 "Seconds that requests under way have to end after SIGTERM")
      ->envname("SLUICE_SHUTDOWN_TIMEOUT")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  app.add_option("--log-level", o.log_level, "debug, info, warn, error or off")
      ->envname("SLUICE_LOG_LEVEL")
      ->capture_default_str();
}

void add_gateway_host(CLI::App& app, PlatformFlags& o) {
  app.add_option("--gateway-host", o.gateway_host,
                 "Name by which clients reach the gateway, in the URLs of services")
      ->envname("SLUICE_GATEWAY_HOST")
      ->capture_default_str();
}

void add_data_option(CLI::App& app, std::string& data) {
  app.add_option("--data", data,
                 "Folder of objects, replicas, certificate, kubeconfig and audit log (default: "
                 "$XDG_STATE_HOME/sluice/control)")
      ->envname("SLUICE_CONTROL_DATA");
}

void add_up(CLI::App& app, std::vector<Command>& commands) {
  auto o = std::make_shared<UpOptions>();
  CLI::App& command =
      *app.add_subcommand("up", "Run the whole platform on this machine: deploy, scale, heal");
  commands.emplace_back(&command, [o] { return run_up(*o); });
  command.add_option("-f,--filename", o->files,
                     "Manifest, or folder of manifests, to apply once it runs; repeat it for "
                     "several");
  command.add_flag("-R,--recursive", o->recursive, "Folders with what lies below them");
  add_data_option(command, o->data);
  command.add_option("--host", o->host, "Address to listen on")
      ->envname("SLUICE_HOST")
      ->capture_default_str();
  command.add_option("--port", o->port, "Port of the data plane (0: any free one)")
      ->envname("SLUICE_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      .add_option("--control-port", o->control_port,
                  "Port of the control plane's API (0: any free one)")
      ->envname("SLUICE_CONTROL_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  command
      .add_option("--grpc-port", o->grpc_port,
                  "Port of the Open Inference Protocol over gRPC, commonly 9000 (0: any free "
                  "one; -1: no gRPC)")
      ->envname("SLUICE_GRPC_PORT")
      ->check(CLI::Range(-1, 65535))
      ->capture_default_str();
  command.add_option("--io-threads", o->io_threads, "Event loops of the gateway")
      ->envname("SLUICE_IO_THREADS")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  command.add_option("--otlp-traces-endpoint", o->otlp_traces_endpoint,
                     "URL that the gateway's traces are sent to as OTLP over HTTP");
  command
      .add_option("--wait", o->wait,
                  "How long what -f names may take to be ready before that is told")
      ->capture_default_str();
  add_gateway_host(command, o->platform);
  add_platform_flags(command, o->platform);
}

void add_controller(CLI::App& app, std::vector<Command>& commands) {
  auto o = std::make_shared<ControllerOptions>();
  CLI::App& command = *app.add_subcommand(
      "controller", "Run the control plane alone: its API, for kubectl, and what it deploys");
  commands.emplace_back(&command, [o] { return run_controller(*o); });
  add_data_option(command, o->data);
  command.add_option("--host", o->host, "Address to listen on")
      ->envname("SLUICE_CONTROL_HOST")
      ->capture_default_str();
  command.add_option("--port", o->port, "Port to listen on (0: any free one)")
      ->envname("SLUICE_CONTROL_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  add_gateway_host(command, o->platform);
  command.add_option("--gateway-port", o->platform.gateway_port, "Port of the gateway")
      ->envname("SLUICE_GATEWAY_PORT")
      ->check(CLI::Range(1, 65535))
      ->capture_default_str();
  add_platform_flags(command, o->platform);
}

}  // namespace

void add_platform_commands(CLI::App& app, std::vector<Command>& commands) {
  add_up(app, commands);
  add_controller(app, commands);
}

}  // namespace sluice::cli
