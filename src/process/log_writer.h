// LogWriter: what a replica writes, in files of bounded size and number.
//
// A file is left at the end of a line once it has its size, so that no line is lost or cut there; a
// line of more than kMaxLogLine may be. Whoever writes faster than LogLimits allow for long, or
// into a full disk, loses whole lines, and a line of the keeper's says how many. One owner; time is
// handed in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "net/socket.h"
#include "process/keeper_order.h"

namespace sluice::process {

inline constexpr size_t kMaxLogLine = 64u << 10;

class LogWriter {
 public:
  // A log that is there goes on.
  LogWriter(std::filesystem::path folder, const LogLimits& limits, TimePoint now);

  // Bytes in any portions.
  void write(std::string_view bytes, TimePoint now);
  // A line of the keeper's own, however much was written before.
  void note(std::string_view text);
  // Says what was dropped and has not been said yet.
  void finish();

  uint64_t dropped_lines() const { return dropped_lines_; }
  uint64_t dropped_bytes() const { return dropped_bytes_; }
  // The last of all that came, dropped or not.
  std::string_view tail() const { return tail_; }

 private:
  void open();
  void rotate();
  void append(std::string_view bytes);
  void put_line_part(std::string_view part, bool ends);
  void drop(std::string_view part, bool ends);
  void tell_dropped();
  void refill(TimePoint now);
  void remember(std::string_view bytes);

  const std::filesystem::path folder_;
  const LogLimits limits_;
  net::Fd file_;
  uint64_t file_bytes_ = 0;
  uint64_t line_bytes_ = 0;     // of the line under way, in the file
  bool in_line_ = false;        // the last byte in the file was no line end
  bool dropping_line_ = false;  // the line under way is not written
  double allowance_;            // bytes that may be written now
  TimePoint refilled_;
  uint64_t dropped_lines_ = 0;
  uint64_t dropped_bytes_ = 0;
  uint64_t told_lines_ = 0;
  std::string tail_;
};

}  // namespace sluice::process
