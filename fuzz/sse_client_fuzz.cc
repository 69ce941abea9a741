// What a client reads from a server: the response parser and, over its body, the SSE parser. The
// same events and faults however the bytes are split. The first byte of the input seeds the split.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "net/response_parser.h"
#include "net/sse.h"

namespace {

using sluice::net::ResponseParser;
using sluice::net::SseEvent;
using sluice::net::SseParser;

constexpr size_t kMaxEventBytes = 512;

std::string events_text(const std::vector<SseEvent>& events) {
  std::string text;
  for (const SseEvent& event : events) {
    if (event.data.size() > kMaxEventBytes) std::abort();
    text += event.name + '\n' + event.data + '\n' + event.id + '\n';
  }
  return text;
}

std::string_view next_piece(std::string_view& bytes, sluice::Rng* split) {
  const std::string_view piece =
      bytes.substr(0, split != nullptr ? 1 + split->below(9) : bytes.size());
  bytes.remove_prefix(piece.size());
  return piece;
}

std::string parse_stream(std::string_view bytes, sluice::Rng* split) {
  SseParser parser(kMaxEventBytes);
  std::vector<SseEvent> events;
  bool good = true;
  while (!bytes.empty()) good = parser.feed(next_piece(bytes, split), events).has_value();
  // Which bytes reach the limit first depends on the split; that it is reached does not.
  if (!good) return "too large";
  return events_text(events) + (parser.mid_event() ? "unfinished" : "");
}

std::string parse_answer(std::string_view bytes, sluice::Rng* split) {
  ResponseParser parser(1024, false);
  std::string body;
  while (!bytes.empty()) {
    std::string_view piece = next_piece(bytes, split);
    while (!piece.empty()) {
      std::string_view data;
      const size_t taken = parser.feed(piece, data);
      piece.remove_prefix(taken);
      body += data;
      if (parser.state() == ResponseParser::State::kHeadDone) parser.accept_body();
      if (parser.state() == ResponseParser::State::kFault) return body + parser.fault();
      if (parser.state() == ResponseParser::State::kDone) bytes = piece = {};
      if (taken == 0 && !piece.empty()) std::abort();
    }
  }
  const bool whole = parser.end_of_input().has_value();
  return std::to_string(parser.status()) + (whole ? "whole" : "cut") + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  sluice::Rng first(data[0]);
  if (parse_answer(bytes, nullptr) != parse_answer(bytes, &first)) std::abort();
  sluice::Rng second(data[0]);
  if (parse_stream(bytes, nullptr) != parse_stream(bytes, &second)) std::abort();
  return 0;
}
