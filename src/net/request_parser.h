// The request half of HTTP/1.1 (RFC 9112), read strictly and within limits.
//
// Push parser: feed() takes bytes as they come and stops at the end of the head, at the end of the
// request and at the first fault. Where the grammar leaves a choice to the recipient, the strict
// one is taken (bare LF, folded lines, repeated Content-Length, other transfer codings than
// "chunked", … are faults), because a lenient reading beside another server's strict one is how
// requests are smuggled. What it yields does not depend on how the bytes were split.
// One owner, no locking.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "net/chunk_decoder.h"
#include "net/http.h"
#include "net/line_reader.h"

namespace sluice::net {

struct RequestLimits {
  size_t body_bytes;
  size_t header_bytes;
  size_t headers;
  size_t target_bytes;
};

// Why a request was refused. `reason` is one of a fixed set of words (a metric label).
struct RequestFault {
  int status = 0;
  std::string message;
  std::string_view reason;
};

class RequestParser {
 public:
  enum class State {
    kHead,      // more bytes of the head are wanted
    kHeadDone,  // stopped: read request() and call accept_body()
    kBody,      // more bytes of the body are wanted
    kDone,      // stopped: take request() and call reset()
    kFault,     // stopped for good: see fault()
  };

  explicit RequestParser(const RequestLimits& limits) : limits_(limits) {}

  // Consumes bytes until one of the stops; returns how many were consumed.
  size_t feed(std::string_view bytes);

  State state() const { return state_; }
  // Some bytes of a request have come.
  bool begun() const { return begun_; }

  // Goes on from kHeadDone, to kBody or, without a body, kDone.
  void accept_body();
  // Begins the next request on the same connection, from kDone.
  void reset();

  HttpRequest& request() { return request_; }
  const RequestFault& fault() const { return fault_; }

  // Valid from kHeadDone on.
  bool http10() const { return http10_; }
  bool keep_alive() const { return keep_alive_; }
  bool expects_continue() const { return expects_continue_; }
  bool has_body() const { return chunked_ || body_left_ > 0; }

 private:
  enum class Part {
    kRequestLine,
    kFields,
    kFixedBody,
    kChunkSize,
    kChunkData,
    kChunkEnd,
    kTrailer
  };

  size_t feed_line(std::string_view bytes);
  size_t feed_body(std::string_view bytes);
  void line_too_long(std::string_view prefix);
  void on_line(std::string_view line);
  void on_request_line(std::string_view line);
  void on_field(std::string_view line);
  void on_special_field(std::string_view name, std::string_view value);
  void on_content_length(std::string_view value);
  void on_transfer_encoding(std::string_view value);
  void on_connection(std::string_view value);
  void on_chunk_state(ChunkDecoder::State chunks);
  void on_head_end();
  void set_fault(int status, std::string_view reason, std::string message);

  RequestLimits limits_;
  State state_ = State::kHead;
  HttpRequest request_;
  RequestFault fault_;
  LineReader lines_;
  std::optional<ChunkDecoder> chunks_;
  std::string authority_;   // of an absolute target
  size_t head_bytes_ = 0;   // of the fields so far
  uint64_t body_left_ = 0;  // of a body with a length
  bool begun_ = false;
  bool in_fields_ = false;  // behind the request line
  bool skipped_empty_line_ = false;
  bool http10_ = false;
  bool keep_alive_ = true;
  bool chunked_ = false;
  bool has_length_ = false;
  bool expects_continue_ = false;
};

}  // namespace sluice::net
