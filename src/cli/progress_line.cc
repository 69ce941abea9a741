#include "cli/progress_line.h"

#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "base/sizes.h"

namespace sluice::cli {
namespace {

constexpr int kBarWidth = 30;
constexpr double kLineEverySeconds = 10;  // where there is no terminal

std::string text(std::string_view what, uint64_t done_bytes, uint64_t total, double rate) {
  const std::string speed = show_size(static_cast<int64_t>(rate)) + "/s";
  const std::string done = show_size(static_cast<int64_t>(done_bytes));
  const std::string name(what.substr(0, 40));
  if (total == 0) return fmt::format("{}  {}  {}", name, done, speed);
  const double part = std::min(1.0, static_cast<double>(done_bytes) / static_cast<double>(total));
  const int filled = static_cast<int>(part * kBarWidth);
  const std::string bar = std::string(static_cast<size_t>(filled), '=') +
                          std::string(static_cast<size_t>(kBarWidth - filled), ' ');
  std::string line = fmt::format("[{}] {:3.0f}%  {} of {}  {}", bar, part * 100, done,
                                 show_size(static_cast<int64_t>(total)), speed);
  if (rate > 0 && total > done_bytes) {
    const auto left = static_cast<int64_t>(static_cast<double>(total - done_bytes) / rate);
    line += fmt::format("  {}:{:02}:{:02} left", left / 3600, left / 60 % 60, left % 60);
  }
  return line + "  " + name;
}

}  // namespace

void ProgressLine::show(std::string_view what, uint64_t done, uint64_t total) {
  const TimePoint now = system_clock().now();
  if (!begun_ || done < first_bytes_) {
    begun_ = true;
    start_ = last_line_ = now;
    first_bytes_ = done;  // what was there is no speed
  }
  const double seconds = to_seconds(now - start_);
  const double rate = seconds > 0 ? static_cast<double>(done - first_bytes_) / seconds : 0;
  if (terminal_) {
    std::cerr << "\r\x1b[K" << text(what, done, total, rate) << std::flush;
    drawn_ = true;
  } else if (to_seconds(now - last_line_) >= kLineEverySeconds) {
    last_line_ = now;
    std::cerr << text(what, done, total, rate) << "\n";
  }
}

void ProgressLine::note(const std::string& line) {
  clear();
  std::cerr << line << "\n";
}

void ProgressLine::clear() {
  if (drawn_) std::cerr << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

}  // namespace sluice::cli
