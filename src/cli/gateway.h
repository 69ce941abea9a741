// `sluice gateway`: the front door before servers of models.
#pragma once

#include <string>
#include <vector>

namespace sluice::cli {

// Values of the command line; their table is in commands.cc.
struct GatewayOptions {
  std::string config;
  bool check = false;
  bool supervise = false;
  std::vector<std::string> command;  // this process's own, as it was called
  std::string host = "127.0.0.1";
  int port = 8000;
  int grpc_port = -1;  // below 0: no gRPC
  int io_threads = 1;
  int reload_seconds = 2;
  int shutdown_timeout_seconds = 30;
  std::string otlp_traces_endpoint;
  std::string log_level = "info";
};

// Runs until SIGTERM or SIGINT, then drains. Returns the process's exit status.
int run_gateway(const GatewayOptions& options);

}  // namespace sluice::cli
