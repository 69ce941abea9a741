#include "cli/drain.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "base/log.h"

namespace sluice::cli {

int drain_or_exit(const std::function<bool(Duration patience)>& drain, const Signals& signals,
                  int timeout_seconds) {
  std::atomic<bool> done{false};
  std::atomic<bool> complete{false};
  const std::jthread drainer([&] {
    complete = drain(std::chrono::seconds(timeout_seconds));
    done = true;
  });
  while (!done) {
    if (signals.wait_for(std::chrono::milliseconds(50)) != 0) {
      log_warn("second signal: exiting without waiting for the requests under way");
      std::_Exit(1);
    }
  }
  if (!complete) {
    log_warn("requests under way after {} s were cut (--shutdown-timeout)", timeout_seconds);
    return 1;
  }
  log_info("drained, exiting");
  return 0;
}

}  // namespace sluice::cli
