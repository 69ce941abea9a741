#include "net/chunk_decoder.h"

#include <algorithm>

#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxSizeLineBytes = 256;
constexpr size_t kMaxSizeDigits = 12;
constexpr size_t kMaxTrailerBytes = 4096;

}  // namespace

size_t ChunkDecoder::feed(std::string_view bytes, std::string_view& data) {
  data = {};
  if (state_ != State::kMore) return 0;
  if (part_ != Part::kData) return feed_line(bytes);
  const auto taken = static_cast<size_t>(std::min<uint64_t>(bytes.size(), left_));
  data = bytes.substr(0, taken);
  left_ -= taken;
  if (left_ == 0) part_ = Part::kEnd;
  return taken;
}

size_t ChunkDecoder::feed_line(std::string_view bytes) {
  size_t limit = kMaxSizeLineBytes;
  State too_long = State::kBadLine;
  if (part_ == Part::kEnd) {
    limit = 2;
    too_long = State::kBadEnd;
  } else if (part_ == Part::kTrailer) {
    limit = kMaxTrailerBytes - trailer_bytes_;
    too_long = State::kTrailersTooLong;
  }
  const size_t taken = lines_.feed(bytes, limit);
  switch (lines_.state()) {
    case LineReader::State::kMore:
      break;
    case LineReader::State::kLine:
      on_line(lines_.line());
      break;
    case LineReader::State::kTooLong:
      state_ = too_long;
      break;
    case LineReader::State::kBareLf:
      state_ = part_ == Part::kEnd ? State::kBadEnd : State::kBadLine;
      break;
  }
  return taken;
}

void ChunkDecoder::on_line(std::string_view line) {
  if (part_ == Part::kSize) return on_size(line);
  if (part_ == Part::kTrailer) return on_trailer(line);
  part_ = Part::kSize;
  if (!line.empty()) state_ = State::kBadEnd;
}

void ChunkDecoder::on_size(std::string_view line) {
  size_t digits = 0;
  uint64_t size = 0;
  while (digits < line.size() && hex_digit(line[digits]) >= 0 && digits <= kMaxSizeDigits) {
    size = size * 16 + static_cast<uint64_t>(hex_digit(line[digits++]));
  }
  const std::string_view extension = line.substr(digits);
  const bool extension_ok =
      extension.empty() || (extension.front() == ';' && is_field_value(extension));
  if (digits == 0 || digits > kMaxSizeDigits || !extension_ok) {
    state_ = State::kBadLine;
  } else if (size > room_) {
    state_ = State::kTooLarge;
  } else {
    room_ -= size;
    left_ = size;
    part_ = size == 0 ? Part::kTrailer : Part::kData;
  }
}

// Nothing in a trailer may change what the head has said, so only its form is looked at.
void ChunkDecoder::on_trailer(std::string_view line) {
  trailer_bytes_ = std::min(trailer_bytes_ + line.size() + 2, kMaxTrailerBytes);
  if (line.empty()) {
    state_ = State::kDone;
  } else if (!parse_field_line(line)) {
    state_ = State::kBadTrailer;
  }
}

}  // namespace sluice::net
