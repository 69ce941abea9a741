// LineReader: lines typed at a terminal, with editing and history (libedit), or read from a pipe.
#pragma once

#include <memory>
#include <optional>
#include <string>

namespace sluice::cli {

// One at a time, one thread.
class LineReader {
 public:
  explicit LineReader(std::string prompt);
  ~LineReader();
  LineReader(const LineReader&) = delete;
  LineReader& operator=(const LineReader&) = delete;

  // The next message without its line break; nothing at the end of input. A line that ends in a
  // backslash, or is a lone `"""`, goes on: to the next line, or up to the next `"""`.
  std::optional<std::string> read();

 private:
  struct Impl;
  std::optional<std::string> read_line(bool continued);
  std::unique_ptr<Impl> impl_;
};

}  // namespace sluice::cli
