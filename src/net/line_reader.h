// Lines that end in CR LF, out of a byte stream however it is split. One owner.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace sluice::net {

class LineReader {
 public:
  enum class State {
    kMore,     // no line end yet
    kLine,     // line() is complete, without its CR LF; valid until the next feed()
    kTooLong,  // line() holds the first `limit` bytes of a line that goes on
    kBareLf,   // a line feed without a carriage return before it
  };

  // Takes bytes up to the end of the current line, `limit` at most for the line with its end.
  // Returns how many were taken.
  size_t feed(std::string_view bytes, size_t limit);

  State state() const { return state_; }
  std::string_view line() const { return line_; }

 private:
  State state_ = State::kMore;
  std::string held_;  // the line's bytes of earlier calls
  std::string_view line_;
  bool ended_ = false;
};

}  // namespace sluice::net
