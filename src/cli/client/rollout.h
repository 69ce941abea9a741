// `sluice rollout`: how a new version takes over, and a hand on it.
#pragma once

#include <string>
#include <vector>

#include "cli/client/kube_config.h"

namespace sluice::cli {

struct RolloutOptions {
  ApiOptions api;
  std::string action;  // status, history, promote, undo, pause, resume
  std::vector<std::string> targets;
  std::string revision;       // of undo: to go back to; of history: shown whole; a name or number
  std::string timeout = "0";  // of status; for ever
  std::string output = "text";
  bool watch = true;  // of status: until it has ended
};

int run_rollout(const RolloutOptions& options);

// What `rollout status` says of a service.
struct RolloutView {
  std::string phase;       // Idle, Waiting, Progressing, Paused, RolledBack; empty: not known yet
  std::string stable;      // that has the traffic
  std::string candidate;   // that takes over
  std::string taken_back;  // the latest, where it was rolled back
  std::string message;
  int64_t weight = 0;  // of the candidate, in percent
  bool seen = false;   // the present specification has been seen by the platform
  bool ready = false;

  bool ended() const { return seen && (phase == "RolledBack" || (phase == "Idle" && ready)); }
  bool failed() const { return phase == "RolledBack"; }
};

}  // namespace sluice::cli
