#include "cli/keep.h"

#include "process/keeper.h"

namespace sluice::cli {

int run_keep(const KeepOptions& options) {
  return process::run_keeper({.folder = options.folder, .lock = options.lock});
}

}  // namespace sluice::cli
