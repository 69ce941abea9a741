// AccessLog: one JSON line for each request, written by a thread of its own.
//
// A line names who asked what of whom and how it ended: no prompt, no answer, no key, no query.
// The buffer is bounded: lines that do not fit are dropped and counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/status.h"

namespace sluice::gateway {

// Any thread.
class AccessLog {
 public:
  // "-" is standard output. A file is appended to.
  static Result<std::unique_ptr<AccessLog>> open(const std::string& path);
  // Writes what is left.
  ~AccessLog();

  // `line` has no line end.
  void write(std::string_view line);
  // Opens the file anew by its name: it may have been moved away.
  void reopen();
  const std::string& path() const { return path_; }
  uint64_t dropped() const { return dropped_; }

 private:
  explicit AccessLog(std::string path) : path_(std::move(path)) {}
  void run(const std::stop_token& stop);
  Outcome open_file();

  const std::string path_;
  std::atomic<uint64_t> dropped_ = 0;
  std::mutex mutex_;  // guards pending_ and reopen_
  std::condition_variable_any wake_;
  std::string pending_;
  bool reopen_ = false;
  int fd_ = -1;  // the thread's
  std::jthread thread_;
};

}  // namespace sluice::gateway
