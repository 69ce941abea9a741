// Server-sent events, both directions (WHATWG HTML, section 9.2 "Server-sent events").
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::net {

// One event as bytes: "event: name\ndata: …\n\n". Line breaks in `data` become several data
// lines; `name` (when not empty) must hold none.
std::string sse_event(std::string_view data, std::string_view name = {});

// A comment line, which clients skip: a heartbeat.
std::string sse_comment(std::string_view text = {});

struct SseEvent {
  std::string name;  // empty: "message"
  std::string data;
  std::string id;  // the last id seen
};

// Turns a byte stream into events, however it is split. Takes LF, CR and CRLF line ends, a byte
// order mark, comments and unknown fields. One owner.
class SseParser {
 public:
  // An event of more than `max_event_bytes` is an error.
  explicit SseParser(size_t max_event_bytes = 8u << 20) : max_event_bytes_(max_event_bytes) {}

  // Appends the events that `bytes` complete to `events`. After an error every call fails.
  Outcome feed(std::string_view bytes, std::vector<SseEvent>& events);

  // Bytes of an event or a line have come without its end: the stream was cut in mid event.
  bool mid_event() const { return !line_.empty() || has_data_; }

 private:
  void end_line(std::vector<SseEvent>& events);

  size_t max_event_bytes_;
  std::string line_;
  SseEvent event_;
  bool has_data_ = false;
  bool after_cr_ = false;
  bool at_start_ = true;
  bool failed_ = false;
};

}  // namespace sluice::net
