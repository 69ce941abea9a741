#include "net/line_reader.h"

#include <algorithm>

namespace sluice::net {

size_t LineReader::feed(std::string_view bytes, size_t limit) {
  if (ended_) held_.clear();
  ended_ = false;
  state_ = State::kMore;
  const size_t room = limit - std::min(held_.size(), limit);
  const size_t end = bytes.substr(0, room).find('\n');
  if (end == std::string_view::npos) {
    const size_t taken = std::min(room, bytes.size());
    held_.append(bytes.substr(0, taken));
    line_ = held_;
    if (held_.size() >= limit) state_ = State::kTooLong;
    return taken;
  }
  ended_ = true;
  line_ = bytes.substr(0, end);
  if (!held_.empty()) {  // only then is the line copied
    held_.append(line_);
    line_ = held_;
  }
  state_ = line_.ends_with('\r') ? State::kLine : State::kBareLf;
  if (state_ == State::kLine) line_.remove_suffix(1);
  return end + 1;
}

}  // namespace sluice::net
