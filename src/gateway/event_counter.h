// EventCounter: how many server-sent events with data a stream has had, however it is cut up.
#pragma once

#include <cstdint>
#include <string_view>

namespace sluice::gateway {

class EventCounter {
 public:
  void feed(std::string_view bytes) {
    for (const char c : bytes) {
      if (c == '\n' || c == '\r') {
        matched_ = 0;
      } else if (matched_ < kField.size()) {
        matched_ = c == kField[matched_] ? matched_ + 1 : kField.size() + 1;
        if (matched_ == kField.size()) ++events_;
      }
    }
  }
  int64_t events() const { return events_; }

 private:
  static constexpr std::string_view kField = "data:";

  size_t matched_ = 0;  // bytes of kField at the line's beginning; past its size: no match
  int64_t events_ = 0;
};

}  // namespace sluice::gateway
