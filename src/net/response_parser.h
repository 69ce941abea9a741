// The response half of HTTP/1.1 (RFC 9112): a client's reading of one answer, within limits.
//
// Push parser like RequestParser. The body is not kept: feed() names each piece of it. Interim
// answers (1xx) are skipped. One owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/status.h"
#include "net/chunk_decoder.h"
#include "net/http.h"
#include "net/line_reader.h"

namespace sluice::net {

class ResponseParser {
 public:
  enum class State {
    kHead,
    kHeadDone,  // stopped: read status() and headers(), then call accept_body()
    kBody,
    kDone,
    kFault,
  };

  ResponseParser(size_t max_header_bytes, bool answers_head_request)
      : max_header_bytes_(max_header_bytes), answers_head_(answers_head_request) {}

  // Takes bytes until the head's end, a piece of the body (set in `data`), the answer's end or a
  // fault; returns how many were taken.
  size_t feed(std::string_view bytes, std::string_view& data);
  // The connection has ended: an error in mid answer, the end of a body without a length.
  Outcome end_of_input();
  void accept_body();

  State state() const { return state_; }
  bool begun() const { return begun_; }
  int status() const { return status_; }
  const Headers& headers() const { return headers_; }
  // The connection may be used again, once the state is kDone.
  bool keep_alive() const { return keep_alive_ && !until_close_; }
  const std::string& fault() const { return fault_; }

 private:
  void feed_line_state();
  void on_status_line(std::string_view line);
  void on_field(std::string_view line);
  void on_head_end();
  void set_fault(std::string message);

  size_t max_header_bytes_;
  bool answers_head_;
  State state_ = State::kHead;
  LineReader lines_;
  std::optional<ChunkDecoder> chunks_;
  int status_ = 0;  // 0 before the status line
  Headers headers_;
  size_t head_bytes_ = 0;
  int interim_answers_ = 0;
  std::optional<uint64_t> length_;
  uint64_t body_left_ = 0;
  bool begun_ = false;
  bool keep_alive_ = true;
  bool chunked_ = false;
  bool until_close_ = false;
  std::string fault_;
};

}  // namespace sluice::net
