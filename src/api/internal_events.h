// The answer of POST /internal/v1/generate: a stream of typed events, each in a frame
// (api/internal_frame.h).
//
//   start            1 numerics id  2 context  3 seed  4 prompt {1 tokens 2 text} …
//   prompt logprobs  1 prompt  2 Entry …
//   delta            1 choice  2 text  3 tokens  4 Entry …  5 finish + 1  6 stop string
//                    7 stop token + 1
//   done             1 prompt tokens  2 completion tokens  3 cached tokens
//   error            1 code  2 message  3 param  4 reason
//   leaving          the replica drains: whoever can should go on elsewhere; the answer goes on
//   beat             1 engine steps: the process lives though it has nothing to say
//   Entry = 1 chosen Token 2 likely Token …;  Token = 1 id  2 bytes  3 logprob (float)  4 rank
// start comes first, done or error last. Floats travel as their bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "api/internal_frame.h"
#include "base/status.h"
#include "completion/request.h"

namespace sluice::api {

struct StartEvent {
  std::string fingerprint;
  int max_model_len = 0;
  uint64_t seed = 0;            // the one that is used
  completion::PromptInfo info;  // empty for a resumed answer: it was told already
};

struct PromptLogprobsEvent {
  int prompt = 0;
  std::vector<completion::LogprobEntry> entries;
};

struct LeavingEvent {};
struct BeatEvent {
  uint64_t step = 0;
};

using InternalEvent = std::variant<StartEvent, PromptLogprobsEvent, completion::Delta,
                                   completion::Usage, Status, LeavingEvent, BeatEvent>;

// Writes frames; counts its events. One owner.
class EventWriter {
 public:
  // Appends a frame to `out`.
  void write(const StartEvent& event, std::string& out);
  void write(const PromptLogprobsEvent& event, std::string& out);
  void write(const completion::Delta& delta, std::string& out);
  void write(const completion::Usage& usage, std::string& out);
  void write(const Status& status, std::string& out);
  void write(LeavingEvent event, std::string& out);
  // Needs no owner, as it has no number.
  static void write_beat(uint64_t step, std::string& out);

 private:
  uint64_t next_ = 1;
};

// Turns a byte stream into events, however it is split. One owner. What it reads comes from a
// server: a gap in the numbers, a frame over the limit or a field without sense is kDataLoss, and
// every call fails from then on.
class EventReader {
 public:
  using Take = std::function<void(InternalEvent&&)>;

  explicit EventReader(size_t max_frame_bytes = 64u << 20);

  // Calls `take` for each event that `bytes` complete. `take` may end the reader's life only after
  // feed() has returned.
  Outcome feed(std::string_view bytes, const Take& take);
  // A frame has begun and not ended: the stream was cut inside it.
  bool mid_frame() const { return frames_.mid_frame(); }

 private:
  FrameReader frames_;
};

}  // namespace sluice::api
