#include "api/internal_frame.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::api {
namespace {

constexpr size_t kLengthBytes = 4;
constexpr int kMaxVarintShift = 63;

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

size_t open_frame(uint8_t kind, uint64_t number, std::string& out) {
  const size_t start = out.size();
  out.append(kLengthBytes, '\0');
  out += static_cast<char>(kind);
  while (number >= 0x80) {
    out += static_cast<char>(number | 0x80);
    number >>= 7;
  }
  out += static_cast<char>(number);
  return start;
}

void close_frame(size_t start, std::string& out) {
  const size_t length = out.size() - start - kLengthBytes;
  for (size_t i = 0; i < kLengthBytes; ++i) {
    out[start + i] = static_cast<char>((length >> (8 * i)) & 0xFF);
  }
}

Outcome FrameReader::feed(std::string_view bytes, Take take) {
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
Outcome FrameReader::feed_frames(std::string_view& bytes, Take take) {
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

Outcome FrameReader::read_frame(std::string_view frame, Take take) {
  if (frame.empty()) return broken("an empty frame");
  const auto kind = static_cast<uint8_t>(frame.front());
  frame.remove_prefix(1);
  SLUICE_ASSIGN_OR_RETURN(const uint64_t number, take_number(frame));
  const uint64_t expected = kind == beat_ ? 0 : next_;
  if (number != expected) {
    return broken(fmt::format("event {} came where {} was due", number, expected));
  }
  if (kind != beat_) ++next_;
  const Outcome taken = take(kind, frame);
  if (!taken) return broken(taken.error().message());
  return {};
}

}  // namespace sluice::api
