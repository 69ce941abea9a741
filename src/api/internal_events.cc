#include "api/internal_events.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "api/internal_event_bodies.h"

namespace sluice::api {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr int kMaxVarintShift = 63;

// Writes a frame around whatever `write(WireWriter&)` writes.
template <typename Write>
void frame(EventKind kind, uint64_t number, std::string& out, Write write) {
  const size_t start = out.size();
  out.append(kLengthBytes, '\0');
  out += static_cast<char>(kind);
  while (number >= 0x80) {
    out += static_cast<char>(number | 0x80);
    number >>= 7;
  }
  out += static_cast<char>(number);
  WireWriter writer(out);
  write(writer);
  const size_t length = out.size() - start - kLengthBytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    out[start + i] = static_cast<char>((length >> (8 * i)) & 0xFF);
  }
}

size_t read_length(std::string_view bytes) {
  size_t length = 0;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    length |= size_t{static_cast<unsigned char>(bytes[i])} << (8 * i);
  }
  return length;
}

std::unexpected<Status> broken(std::string_view why) {
  return fail(Code::kDataLoss, fmt::format("a replica's event stream is broken: {}", why));
}

Result<uint64_t> take_number(std::string_view& bytes) {
  uint64_t number = 0;
  for (int shift = 0; shift < kMaxVarintShift && !bytes.empty(); shift += 7) {
    const auto byte = static_cast<unsigned char>(bytes.front());
    bytes.remove_prefix(1);
    number |= uint64_t{byte & 0x7Fu} << shift;
    if (byte < 0x80) return number;
  }
  return broken("a frame has no number");
}

}  // namespace

void EventWriter::write(const StartEvent& event, std::string& out) {
  frame(EventKind::kStart, next_++, out, [&](WireWriter& w) { write_start(w, event); });
}

void EventWriter::write(const PromptLogprobsEvent& event, std::string& out) {
  frame(EventKind::kPromptLogprobs, next_++, out,
        [&](WireWriter& w) { write_prompt_logprobs(w, event); });
}

void EventWriter::write(const completion::Delta& delta, std::string& out) {
  frame(EventKind::kDelta, next_++, out, [&](WireWriter& w) { write_delta(w, delta); });
}

void EventWriter::write(const completion::Usage& usage, std::string& out) {
  frame(EventKind::kDone, next_++, out, [&](WireWriter& w) { write_usage(w, usage); });
}

void EventWriter::write(const Status& status, std::string& out) {
  frame(EventKind::kError, next_++, out, [&](WireWriter& w) { write_error(w, status); });
}

void EventWriter::write(LeavingEvent, std::string& out) {
  frame(EventKind::kLeaving, next_++, out, [](WireWriter&) {});
}

void EventWriter::write_beat(uint64_t step, std::string& out) {
  frame(EventKind::kBeat, 0, out, [&](WireWriter& w) { w.uint(1, step); });
}

Outcome EventReader::feed(std::string_view bytes, const Take& take) {
  if (failed_) return broken("it was given up");
  const auto read = [&]() -> Outcome {
    if (pending_.empty()) {
      SLUICE_RETURN_IF_ERROR(feed_frames(bytes, take));
      pending_ = bytes;
      return {};
    }
    pending_ += bytes;
    std::string_view whole = pending_;
    SLUICE_RETURN_IF_ERROR(feed_frames(whole, take));
    pending_.erase(0, pending_.size() - whole.size());
    return {};
  };
  Outcome outcome = read();
  failed_ = !outcome;
  return outcome;
}

// Reads whole frames off the start of `bytes`.
Outcome EventReader::feed_frames(std::string_view& bytes, const Take& take) {
  while (bytes.size() >= kLengthBytes) {
    const size_t length = read_length(bytes);
    if (length > max_frame_bytes_) {
      return broken(
          fmt::format("a frame of {} bytes; at most {} are taken", length, max_frame_bytes_));
    }
    if (bytes.size() < kLengthBytes + length) break;
    const std::string_view frame = bytes.substr(kLengthBytes, length);
    bytes.remove_prefix(kLengthBytes + length);
    SLUICE_RETURN_IF_ERROR(read_frame(frame, take));
  }
  return {};
}

Outcome EventReader::read_frame(std::string_view frame, const Take& take) {
  if (frame.empty()) return broken("an empty frame");
  const auto kind = static_cast<EventKind>(frame.front());
  frame.remove_prefix(1);
  SLUICE_ASSIGN_OR_RETURN(const uint64_t number, take_number(frame));
  const uint64_t expected = kind == EventKind::kBeat ? 0 : next_;
  if (number != expected) {
    return broken(fmt::format("event {} came where {} was due", number, expected));
  }
  if (kind != EventKind::kBeat) ++next_;
  auto event = read_event(kind, frame);
  if (!event) return broken(event.error().message());
  take(*std::move(event));
  return {};
}

}  // namespace sluice::api
