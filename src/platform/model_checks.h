// ModelChecks: what reading a model's files says of them, asked once for each state of the files.
//
// Any thread; one asks at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "base/status.h"

namespace sluice::platform {

// Whether `sluice serve` can read the model at a path, a file or a folder, and how many bytes of
// memory its weights take then; loads nothing.
using CheckModel = std::function<Result<int64_t>(const std::string& path)>;

class ModelChecks {
 public:
  explicit ModelChecks(CheckModel check) : check_(std::move(check)) {}

  Result<int64_t> operator()(const std::string& path) const;

 private:
  struct Known {
    uint64_t stamp;
    Result<int64_t> weight_bytes;
  };
  const CheckModel check_;
  mutable std::mutex mutex_;
  mutable std::map<std::string, Known, std::less<>> known_;
};

}  // namespace sluice::platform
