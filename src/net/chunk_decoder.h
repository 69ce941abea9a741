// The chunked transfer coding (RFC 9112 section 7.1), read strictly: sizes are plain hex digits,
// extensions are short and ignored, trailer fields are checked and dropped. One owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "net/line_reader.h"

namespace sluice::net {

class ChunkDecoder {
 public:
  enum class State {
    kMore,
    kDone,
    kBadLine,  // a line that is no chunk size, or does not end in CR LF
    kBadEnd,   // a chunk's data is not followed by CR LF
    kBadTrailer,
    kTrailersTooLong,
    kTooLarge,  // the body would be longer than the limit
  };

  explicit ChunkDecoder(uint64_t max_bytes) : room_(max_bytes) {}

  // Takes bytes and sets `data` to the piece of the body among them (empty at times). Returns how
  // many were taken; call again with the rest while the state is kMore.
  size_t feed(std::string_view bytes, std::string_view& data);

  State state() const { return state_; }

 private:
  enum class Part { kSize, kData, kEnd, kTrailer };

  size_t feed_line(std::string_view bytes);
  void on_line(std::string_view line);
  void on_size(std::string_view line);
  void on_trailer(std::string_view line);

  State state_ = State::kMore;
  Part part_ = Part::kSize;
  LineReader lines_;
  uint64_t room_;      // bytes that the body may still grow by
  uint64_t left_ = 0;  // of the current chunk
  size_t trailer_bytes_ = 0;
};

}  // namespace sluice::net
