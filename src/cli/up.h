// `sluice up`: the whole platform on this machine, as processes under one small supervisor.
//
//   sluice up ─┬─ sluice controller        API, reconcilers; restarted when it dies
//              ├─ sluice gateway           the data plane; restarted, and replaced without a gap
//              └─ sluice keep … (adopted)  one for each replica; they outlive the controller
//
// The listening sockets of both are the supervisor's, so that a process that dies refuses nobody.
// It has no threads, and does nothing but start, watch and end processes.
//
//   SIGUSR2           new processes of both from the program's file, which may be a newer one
//   SIGHUP, SIGUSR1   passed on to the gateway: the configuration is taken anew; the end is near
//   SIGTERM, SIGINT   the gateway answers what it has begun and ends, then the controller ends its
//                     replicas, then itself; a second one ends everything at once
#pragma once

#include <string>
#include <vector>

#include "cli/platform_flags.h"

namespace sluice::cli {

struct UpOptions {
  std::string data;  // empty: default_data_folder()
  std::vector<std::string> files;
  bool recursive = false;
  std::string host = "127.0.0.1";
  int port = 8000;
  int control_port = 8001;
  int grpc_port = -1;
  int io_threads = 1;
  std::string otlp_traces_endpoint;
  std::string wait = "5m";  // for what was applied to be ready
  PlatformFlags platform;
};

// Set for the processes under `sluice up`.
inline constexpr const char* kUnderUp = "SLUICE_UNDER_UP";

// Until all has ended. To be called before any thread is made.
int run_up(const UpOptions& options);

}  // namespace sluice::cli
