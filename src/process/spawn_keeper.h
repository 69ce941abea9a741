// Starting a keeper from a process with many threads.
#pragma once

#include <filesystem>

#include "base/status.h"
#include "net/socket.h"

namespace sluice::process {

// Runs `program keep FOLDER --lock 3` in a session of its own, with the lock as descriptor 3 and no
// other descriptor of this process. The pidfd of the child, which is to be reaped when it is
// readable. The caller closes its own copy of the lock. Any thread.
Result<net::Fd> spawn_keeper(const std::filesystem::path& program,
                             const std::filesystem::path& folder, const net::Fd& lock);

}  // namespace sluice::process
