// `sluice doctor`: looks at the machine and at what was set up, and says what to do.
#pragma once

#include <string>
#include <vector>

#include "cli/doctor/finding.h"

namespace sluice::cli {

struct DoctorOptions {
  std::string data;    // of `sluice up`; empty: where it is by default
  std::string config;  // of the gateway; empty: DATA/gateway.json
  std::vector<std::string> files;
  std::vector<std::string> models;
  std::string host = "127.0.0.1";
  int port = 8000;
  int control_port = 8001;
  int grpc_port = -1;
  std::string output = "text";
};

// 1 when something is bad.
int run_doctor(const DoctorOptions& options);

std::string findings_text(const Findings& findings);

}  // namespace sluice::cli
