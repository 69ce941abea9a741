#include "platform/model_checks.h"

#include <xxhash.h>

#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

namespace sluice::platform {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMostKnown = 4096;
constexpr int kMostFiles = 4096;  // of a folder that are looked at

uint64_t add(uint64_t hash, std::string_view text) {
  return XXH3_64bits_withSeed(text.data(), text.size(), hash);
}

// Its name, size and time; of what is not there the name alone.
uint64_t add_file(uint64_t hash, const fs::path& path) {
  std::error_code error;
  const uint64_t size = fs::file_size(path, error);
  const int64_t time = fs::last_write_time(path, error).time_since_epoch().count();
  hash = add(hash, path.native());
  hash = XXH3_64bits_withSeed(&size, sizeof size, hash);
  return XXH3_64bits_withSeed(&time, sizeof time, hash);
}

// Another one when a file of the model comes, goes or changes; 0: nothing is there.
uint64_t stamp_of(const fs::path& path) {
  std::error_code error;
  if (!fs::exists(path, error)) return 0;
  uint64_t sum = add_file(0, path);
  fs::path folder = path;
  if (!fs::is_directory(path, error)) {
    // The first of a model in shards, "…-00001-of-00003.gguf", stands for all.
    if (!path.filename().native().contains("-of-")) return sum;
    folder = path.parent_path();
  }
  int files = 0;
  for (fs::directory_iterator each(folder, error), end; !error && each != end && files < kMostFiles;
       each.increment(error), ++files) {
    sum += add_file(0, each->path());  // in no order
  }
  return sum;
}

}  // namespace

Result<int64_t> ModelChecks::operator()(const std::string& path) const {
  const std::lock_guard lock(mutex_);
  const uint64_t stamp = stamp_of(path);
  const auto known = known_.find(path);
  if (known != known_.end() && known->second.stamp == stamp && stamp != 0) {
    return known->second.weight_bytes;
  }
  if (known_.size() >= kMostKnown) known_.clear();
  Result<int64_t> weight_bytes = check_(path);
  known_.insert_or_assign(path, Known{stamp, weight_bytes});
  return weight_bytes;
}

}  // namespace sluice::platform
