// The keeper of one replica: a small process with one thread that starts the replica's program,
// outlives whoever asked for it, and writes down how it ended (folder.h names the files).
//
//   SIGTERM, SIGINT  SIGTERM to the program; when its grace is over, the end of all that it started
//   SIGUSR1          the end at once
//   SIGHUP           spec.json and state.json are written anew
//
// It is the subreaper of all that the program starts, so nothing of a replica is left when it has
// written exit.json. When the keeper itself is killed, the kernel kills the program; what that
// started is ended by whoever notices (leftovers.h).
#pragma once

#include <filesystem>

namespace sluice::process {

struct KeeperOptions {
  std::filesystem::path folder;
  int lock = -1;  // descriptor of the folder's lock, taken for this process; -1: it takes it itself
};

// Until all has ended. Exit status: 0 when exit.json was written, else 1 with the reason in the
// process's log. To be called before any thread is made.
int run_keeper(const KeeperOptions& options);

}  // namespace sluice::process
