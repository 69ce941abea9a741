#include "gateway/access_log.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "base/log.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxPendingBytes = 8u << 20;
constexpr size_t kWakeBytes = 64u << 10;
constexpr std::chrono::milliseconds kWritePeriod{100};

}  // namespace

Result<std::unique_ptr<AccessLog>> AccessLog::open(const std::string& path) {
  std::unique_ptr<AccessLog> log(new AccessLog(path));
  SLUICE_RETURN_IF_ERROR(log->open_file());
  log->thread_ = std::jthread([raw = log.get()](const std::stop_token& stop) { raw->run(stop); });
  return log;
}

AccessLog::~AccessLog() {
  if (thread_.joinable()) {
    thread_.request_stop();
    thread_.join();
  }
  if (fd_ > STDOUT_FILENO) ::close(fd_);
}

Outcome AccessLog::open_file() {
  if (path_ == "-") {
    fd_ = STDOUT_FILENO;
    return {};
  }
  const int fd = ::open(path_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (fd < 0) {
    return invalid(fmt::format("access_log.path: cannot open {}: {}", path_, strerror(errno)));
  }
  if (fd_ > STDOUT_FILENO) ::close(fd_);
  fd_ = fd;
  return {};
}

void AccessLog::write(std::string_view line) {
  bool ring = false;
  {
    const std::lock_guard lock(mutex_);
    if (pending_.size() + line.size() + 1 > kMaxPendingBytes) {
      ++dropped_;
      return;
    }
    const bool below = pending_.size() < kWakeBytes;
    pending_.append(line).push_back('\n');
    ring = below && pending_.size() >= kWakeBytes;
  }
  // Otherwise the thread looks by itself soon: a wake-up for each line costs more than the line.
  if (ring) wake_.notify_one();
}

void AccessLog::reopen() {
  const std::lock_guard lock(mutex_);
  reopen_ = true;
}

void AccessLog::run(const std::stop_token& stop) {
  std::string out;
  while (true) {
    bool anew = false;
    {
      std::unique_lock lock(mutex_);
      wake_.wait_for(lock, stop, kWritePeriod, [this] { return pending_.size() >= kWakeBytes; });
      out.clear();
      out.swap(pending_);
      anew = std::exchange(reopen_, false);
    }
    if (anew) {
      if (const Outcome opened = open_file(); !opened) log_warn("{}", opened.error().message());
    }
    std::string_view left = out;
    while (!left.empty()) {
      const ssize_t count = ::write(fd_, left.data(), left.size());
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        dropped_ += static_cast<uint64_t>(std::ranges::count(left, '\n'));
        break;
      }
      left.remove_prefix(static_cast<size_t>(count));
    }
    if (stop.stop_requested() && out.empty()) return;
  }
}

}  // namespace sluice::gateway
