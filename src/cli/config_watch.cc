#include "cli/config_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <string_view>
#include <system_error>

namespace sluice::cli {
namespace {

// A file that is only just made is empty yet, and one that is gone will come back.
constexpr uint32_t kEvents = IN_CLOSE_WRITE | IN_MOVED_TO;
constexpr uint32_t kFolderEvents = kEvents | IN_MOVED_FROM | IN_DELETE;

bool is_folder(const std::filesystem::path& path) {
  std::error_code error;
  return std::filesystem::is_directory(path, error);
}

}  // namespace

ConfigWatch::ConfigWatch(const std::filesystem::path& config)
    : folder_(is_folder(config)), name_(config.filename().string()) {
  std::filesystem::path folder = folder_ ? config : config.parent_path();
  if (folder.empty()) folder = ".";
  fd_ = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (fd_ < 0 || inotify_add_watch(fd_, folder.c_str(), folder_ ? kFolderEvents : kEvents) >= 0) {
    return;
  }
  close(fd_);
  fd_ = -1;
}

ConfigWatch::~ConfigWatch() {
  if (fd_ >= 0) close(fd_);
}

// Kubernetes mounts a folder's files as links into "..data", which is renamed over.
bool ConfigWatch::is_ours(std::string_view name) const {
  return folder_ || name == name_ || name.starts_with("..");
}

bool ConfigWatch::changed() {
  alignas(inotify_event) std::array<char, 16u << 10> buffer;
  bool ours = false;
  while (true) {
    const ssize_t got = fd_ < 0 ? 0 : read(fd_, buffer.data(), buffer.size());
    if (got <= 0) return ours;
    for (size_t at = 0; at + sizeof(inotify_event) <= static_cast<size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, buffer.data() + at, sizeof(event));
      const char* name = buffer.data() + at + sizeof(event);
      const std::string_view text(name, strnlen(name, event.len));
      ours = ours || (event.mask & IN_Q_OVERFLOW) != 0 || is_ours(text);
      at += sizeof(event) + event.len;
    }
  }
}

}  // namespace sluice::cli
