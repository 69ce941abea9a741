// What `sluice controller` and `sluice up` are told about the platform: one list, so that `up` can
// hand it on.
#pragma once

#include <string>
#include <vector>

namespace sluice::cli {

struct PlatformFlags {
  std::string gateway_host = "localhost";  // where clients reach the gateway
  int gateway_port = 8000;
  bool metrics_public = false;  // of the gateway
  std::vector<std::string> allowed_commands = {"sluice"};
  std::string replicas_memory;       // such as 8G, of all replicas together; empty: what is there
  double replicas_cpus = 0;          // likewise; 0: all cores
  std::vector<std::string> volumes;  // NAME=FOLDER of pvc://NAME/…
  bool keep_replicas = false;        // at the end they go on, for the next controller
  std::string spot = "none";         // who is asked for notices: none, aws, gcp, azure
  std::string spot_url;              // of the metadata service; empty: the cloud's own
  std::string spot_file;             // that announces the end when it appears
  int shutdown_timeout_seconds = 30;
  std::string log_level = "info";
};

// As a command line again, without what is as by default.
std::vector<std::string> arguments_of(const PlatformFlags& options);

}  // namespace sluice::cli
