// The frames of the internal protocol's event streams:
//   4 bytes length of what follows (little-endian) · 1 byte kind · number (varint; 0 for a beat,
//   else 1, 2, … without a gap) · a message (api/internal_wire.h)
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "api/internal_wire.h"
#include "base/function_ref.h"
#include "base/status.h"

namespace sluice::api {

// Where a frame that is being written began.
size_t open_frame(uint8_t kind, uint64_t number, std::string& out);
void close_frame(size_t start, std::string& out);

// Appends a frame around whatever `write(WireWriter&)` writes.
template <typename Write>
void write_frame(uint8_t kind, uint64_t number, std::string& out, Write write) {
  const size_t start = open_frame(kind, number, out);
  WireWriter writer(out);
  write(writer);
  close_frame(start, out);
}

// Turns a byte stream into frames, however it is split. One owner. What it reads comes from a
// server: a gap in the numbers or a frame over the limit is kDataLoss, and every call fails from
// then on.
class FrameReader {
 public:
  using Take = FunctionRef<Outcome(uint8_t kind, std::string_view message)>;

  // Frames of kind `beat` have no number.
  FrameReader(size_t max_frame_bytes, uint8_t beat)
      : max_frame_bytes_(max_frame_bytes), beat_(beat) {}

  // Calls `take` for each frame that `bytes` complete; its error is the stream's. `take` may end
  // the reader's life only after feed() has returned.
  Outcome feed(std::string_view bytes, Take take);
  // A frame has begun and not ended: the stream was cut inside it.
  bool mid_frame() const { return !pending_.empty(); }

 private:
  Outcome feed_frames(std::string_view& bytes, Take take);
  Outcome read_frame(std::string_view frame, Take take);

  size_t max_frame_bytes_;
  uint8_t beat_;
  std::string pending_;  // the start of a frame whose end has not come
  uint64_t next_ = 1;
  bool failed_ = false;
};

}  // namespace sluice::api
