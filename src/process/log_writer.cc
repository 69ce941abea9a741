#include "process/log_writer.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "process/folder.h"
#include "process/records.h"

namespace sluice::process {

LogWriter::LogWriter(std::filesystem::path folder, const LogLimits& limits, TimePoint now)
    : folder_(std::move(folder)),
      limits_(limits),
      allowance_(static_cast<double>(limits.burst_bytes)),
      refilled_(now) {
  open();
}

void LogWriter::open() {
  file_ = net::Fd(
      ::open(log_path(folder_, 0).c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600));
  struct stat info{};
  const bool known = file_.valid() && ::fstat(file_.get(), &info) == 0;
  file_bytes_ = known ? static_cast<uint64_t>(info.st_size) : 0;
  in_line_ = false;
}

void LogWriter::rotate() {
  file_.reset();
  // Also those that a smaller limit leaves behind.
  ::unlink(log_path(folder_, limits_.files + 1).c_str());
  if (limits_.files == 0) ::unlink(log_path(folder_, 0).c_str());
  for (int age = limits_.files; age > 0; --age) {
    ::rename(log_path(folder_, age - 1).c_str(), log_path(folder_, age).c_str());
  }
  open();
}

void LogWriter::refill(TimePoint now) {
  const double gained = to_seconds(now - refilled_) * static_cast<double>(limits_.bytes_per_second);
  allowance_ = std::min(allowance_ + gained, static_cast<double>(limits_.burst_bytes));
  refilled_ = now;
}

void LogWriter::remember(std::string_view bytes) {
  if (bytes.size() >= kMaxMessageBytes) {
    tail_.assign(bytes.substr(bytes.size() - kMaxMessageBytes));
    return;
  }
  tail_.append(bytes);
  if (tail_.size() > kMaxMessageBytes) tail_.erase(0, tail_.size() - kMaxMessageBytes);
}

// All or nothing for what is counted; a disk that fills up in the middle cuts one line.
void LogWriter::append(std::string_view bytes) {
  if (!file_.valid()) open();
  while (!bytes.empty()) {
    const ssize_t written = file_.valid() ? ::write(file_.get(), bytes.data(), bytes.size()) : -1;
    if (written < 0 && file_.valid() && errno == EINTR) continue;
    if (written <= 0) {
      dropping_line_ = true;
      dropped_bytes_ += bytes.size();
      return;
    }
    file_bytes_ += static_cast<uint64_t>(written);
    in_line_ = bytes[static_cast<size_t>(written) - 1] != '\n';
    bytes.remove_prefix(static_cast<size_t>(written));
  }
}

void LogWriter::drop(std::string_view part, bool ends) {
  dropped_bytes_ += part.size();
  dropping_line_ = !ends;
  if (!ends) return;
  ++dropped_lines_;
  line_bytes_ = 0;
}

void LogWriter::tell_dropped() {
  if (told_lines_ == dropped_lines_) return;
  const uint64_t lines = dropped_lines_ - told_lines_;
  const bool was_dropping = std::exchange(dropping_line_, false);
  const std::string text = fmt::format(
      "{}sluice keep: {} lines were dropped here: more than {} bytes a second, or a "
      "full disk\n",
      in_line_ ? "\n" : "", lines, limits_.bytes_per_second);
  const uint64_t bytes_before = dropped_bytes_;
  append(text);
  if (dropping_line_) {
    dropped_bytes_ = bytes_before;  // still no room: it is said later
  } else {
    told_lines_ = dropped_lines_;
  }
  dropping_line_ = was_dropping;
}

// `part` ends at the end of a line, or is all that has come of it.
void LogWriter::put_line_part(std::string_view part, bool ends) {
  if (!dropping_line_ && line_bytes_ == 0) {
    // A line is begun only when there is room for much of one, so that floods are told in few
    // gaps.
    const auto enough = static_cast<double>(std::min<uint64_t>(kMaxLogLine, limits_.burst_bytes));
    const double wanted = told_lines_ == dropped_lines_ ? 1.0 : enough;
    if (allowance_ < wanted) return drop(part, ends);
    tell_dropped();
  }
  if (dropping_line_) return drop(part, ends);
  allowance_ -= static_cast<double>(part.size());
  append(part);
  line_bytes_ += part.size();
  if (dropping_line_ && ends) {
    ++dropped_lines_;
    dropping_line_ = false;
  }
  if (ends || line_bytes_ > kMaxLogLine) {
    if (file_bytes_ >= limits_.file_bytes) rotate();
    line_bytes_ = 0;
  }
}

void LogWriter::write(std::string_view bytes, TimePoint now) {
  refill(now);
  remember(bytes);
  while (!bytes.empty()) {
    const size_t line = bytes.find('\n');
    const bool ends = line != std::string_view::npos;
    const size_t length = ends ? line + 1 : bytes.size();
    put_line_part(bytes.substr(0, length), ends);
    bytes.remove_prefix(length);
  }
}

void LogWriter::note(std::string_view text) {
  const bool was_dropping = std::exchange(dropping_line_, false);
  append(fmt::format("{}sluice keep: {}\n", in_line_ ? "\n" : "", text));
  dropping_line_ = was_dropping;
}

void LogWriter::finish() { tell_dropped(); }

}  // namespace sluice::process
