#include "process/folder_watch.h"

#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <set>
#include <utility>

#include "base/log.h"

namespace sluice::process {

FolderWatch::FolderWatch(net::EventLoop& loop)
    : loop_(loop), inotify_(::inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) {
  if (!inotify_.valid()) {
    log_warn("{}; files are looked at from time to time instead",
             net::errno_text("inotify_init1", errno));
    return;
  }
  if (!loop_.watch(inotify_.get(), EPOLLIN, this)) inotify_.reset();
}

FolderWatch::~FolderWatch() {
  if (inotify_.valid()) loop_.unwatch(inotify_.get());
}

int FolderWatch::add(const std::filesystem::path& folder, Changed changed) {
  if (!inotify_.valid()) return -1;
  const int number = ::inotify_add_watch(inotify_.get(), folder.c_str(),
                                         IN_MOVED_TO | IN_CLOSE_WRITE | IN_ONLYDIR);
  if (number >= 0) changed_[number] = std::move(changed);
  return number;
}

void FolderWatch::remove(int number) {
  if (changed_.erase(number) > 0) ::inotify_rm_watch(inotify_.get(), number);
}

void FolderWatch::on_events(uint32_t) {
  alignas(inotify_event) std::array<char, 16384> bytes;
  std::set<int> numbers;
  ssize_t got = 0;
  while ((got = ::read(inotify_.get(), bytes.data(), bytes.size())) > 0) {
    for (size_t at = 0; at + sizeof(inotify_event) <= static_cast<size_t>(got);) {
      inotify_event event{};
      std::memcpy(&event, bytes.data() + at, sizeof(event));
      at += sizeof(event) + event.len;
      if ((event.mask & IN_Q_OVERFLOW) != 0) {
        for (const auto& [number, changed] : changed_) numbers.insert(number);
      } else {
        numbers.insert(event.wd);
      }
    }
  }
  for (const int number : numbers) {
    // One call may remove another's.
    const auto found = changed_.find(number);
    if (found == changed_.end()) continue;
    const Changed changed = found->second;
    changed();
  }
}

}  // namespace sluice::process
