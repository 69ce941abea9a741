// FolderWatch: tells at once when something in a folder appears, is renamed to, or is closed by
// whoever wrote there (inotify(7)). One for many folders.
//
// Belongs to its loop's thread, or to its owner after the loop ended. Where inotify has no place
// left nothing is told: whoever listens looks from time to time as well.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>

#include "net/event_loop.h"
#include "net/socket.h"

namespace sluice::process {

class FolderWatch final : net::EventLoop::Watcher {
 public:
  using Changed = std::function<void()>;

  explicit FolderWatch(net::EventLoop& loop);
  ~FolderWatch();
  FolderWatch(const FolderWatch&) = delete;
  FolderWatch& operator=(const FolderWatch&) = delete;

  // A number for remove(); below 0: it cannot be watched. `changed` may be called more often than
  // something changes.
  int add(const std::filesystem::path& folder, Changed changed);
  void remove(int number);

 private:
  void on_events(uint32_t events) override;

  net::EventLoop& loop_;
  net::Fd inotify_;
  std::map<int, Changed> changed_;
};

}  // namespace sluice::process
