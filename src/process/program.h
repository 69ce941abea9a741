// Starting a replica's program from its keeper, which has one thread.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"
#include "process/control_group.h"
#include "process/replica_spec.h"

namespace sluice::process {

struct ProgramStart {
  const ReplicaSpec& spec;
  std::string token;
  std::filesystem::path folder;  // where it runs, when the spec names none
  uint16_t port = 0;
  int listener = -1;  // handed as descriptor 3; -1: none
  int output = -1;    // its standard output and error
  const ReplicaGroup& group;
  std::vector<int> processors = {};  // that it may use; empty: all
  uint64_t data_limit = 0;           // RLIMIT_DATA; 0: as it is
};

// The variable of a program's environment that holds its start's token, by which what it starts is
// known.
inline constexpr std::string_view kTokenVariable = "SLUICE_REPLICA_TOKEN";

// What stands for $(PORT) is put in; "$(PORT)" of "$$(PORT)" stays, as in Kubernetes.
std::string with_port(const std::string& text, uint16_t port);

// NAME=VALUE for the program: its token, PORT, what spec.environment says, and of the keeper's own
// environment only what says where things are on this machine.
std::vector<std::string> program_environment(const ProgramStart& start, char** own);

// The file that a command's first word names: itself, or found by PATH (of `environment`). Fails
// with what is wrong with it.
Result<std::string> find_program(const std::string& name,
                                 const std::vector<std::string>& environment);

// In a process group of its own, killed when the keeper dies. Fails when the program could not be
// run, with the reason.
Result<pid_t> start_program(const ProgramStart& start);

}  // namespace sluice::process
