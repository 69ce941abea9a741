// ReplicaSpec: everything that is needed to run one replica, whoever runs it. Resolved: no
// templates, no references to other objects. Plain values.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace sluice::process {

// How the state of a replica is asked for. Times and counts as in Kubernetes.
struct Probe {
  enum class Kind { kHttp, kTcp };
  Kind kind = Kind::kHttp;
  std::string path = "/ready";  // of kHttp; 200 to 399 is good
  bool https = false;           // any certificate is taken
  std::vector<std::pair<std::string, std::string>> headers = {};
  Duration initial_delay{};
  Duration period = std::chrono::seconds(10);
  Duration timeout = std::chrono::seconds(1);
  int success_threshold = 1;
  int failure_threshold = 3;
  bool operator==(const Probe&) const = default;
};

struct ReplicaSpec {
  // Of this replica and never of another: letters, digits, '-' and '.', at most 200 bytes.
  std::string id = {};
  // Program and arguments. $(PORT) stands for the port that the replica is given.
  std::vector<std::string> command = {};
  std::vector<std::pair<std::string, std::string>> environment = {};  // besides PORT; secret
  std::string working_folder = {};                                    // empty: the replica's own
  // The program takes its listening socket as systemd hands it over (sd_listen_fds); any other is
  // told a free port.
  bool takes_socket = false;
  uint64_t memory_bytes = 0;                  // above which it is ended; 0: no limit
  double cpus = 0;                            // of which it may use so many; 0: no limit
  Duration grace = std::chrono::seconds(30);  // between SIGTERM and SIGKILL
  std::optional<Probe> startup = {};          // until it is good, the others are not made
  std::optional<Probe> readiness = {};        // none: ready as soon as it accepts connections
  std::optional<Probe> liveness = {};         // bad: the replica is ended, and counts as failed
  bool operator==(const ReplicaSpec&) const = default;
};

}  // namespace sluice::process
