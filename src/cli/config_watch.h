// ConfigWatch: tells at once when a configuration, a file or a folder of files, may have changed:
// by inotify on the folder, because files are changed by renaming. Where there is no inotify it
// tells nothing, and whoever asks looks at the files from time to time, as always.
#pragma once

#include <filesystem>
#include <string>

namespace sluice::cli {

// One thread.
class ConfigWatch {
 public:
  explicit ConfigWatch(const std::filesystem::path& config);
  ~ConfigWatch();
  ConfigWatch(const ConfigWatch&) = delete;
  ConfigWatch& operator=(const ConfigWatch&) = delete;

  // Readable when something has happened in the folder; below 0: there is no watch.
  int fd() const { return fd_; }
  // Reads what has happened. True when the configuration may have changed by it.
  bool changed();

 private:
  bool is_ours(std::string_view name) const;

  const bool folder_;
  const std::string name_;  // of the file
  int fd_ = -1;
};

}  // namespace sluice::cli
