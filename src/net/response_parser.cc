#include "net/response_parser.h"

#include <algorithm>
#include <utility>

#include "net/response_head.h"
#include "net/syntax.h"

namespace sluice::net {

namespace {

constexpr size_t kMaxHeaders = 256;
constexpr int kMaxInterimAnswers = 8;

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void ResponseParser::set_fault(std::string message) {
  state_ = State::kFault;
  fault_ = std::move(message);
}

size_t ResponseParser::feed(std::string_view bytes, std::string_view& data) {
  data = {};
  if (bytes.empty()) return 0;
  begun_ = true;
  if (state_ == State::kHead) {
    const size_t taken = lines_.feed(bytes, max_header_bytes_ - head_bytes_);
    feed_line_state();
    return taken;
  }
  if (state_ != State::kBody) return 0;
  if (chunks_) {
    const size_t taken = chunks_->feed(bytes, data);
    if (chunks_->state() == ChunkDecoder::State::kDone) {
      state_ = State::kDone;
    } else if (chunks_->state() != ChunkDecoder::State::kMore) {
      set_fault("the answer's chunks are malformed");
    }
    return taken;
  }
  const size_t taken = until_close_ ? bytes.size() : std::min<uint64_t>(bytes.size(), body_left_);
  data = bytes.substr(0, taken);
  if (!until_close_) body_left_ -= taken;
  if (!until_close_ && body_left_ == 0) state_ = State::kDone;
  return taken;
}

void ResponseParser::feed_line_state() {
  switch (lines_.state()) {
    case LineReader::State::kMore:
      return;
    case LineReader::State::kTooLong:
      return set_fault("the answer's header is too large");
    case LineReader::State::kBareLf:
      return set_fault("the answer's header has a line that does not end in CR LF");
    case LineReader::State::kLine:
      break;
  }
  const std::string_view line = lines_.line();
  head_bytes_ = std::min(head_bytes_ + line.size() + 2, max_header_bytes_);
  if (status_ == 0) return on_status_line(line);
  return line.empty() ? on_head_end() : on_field(line);
}

void ResponseParser::on_status_line(std::string_view line) {
  // "HTTP/1.1 200 OK"; the phrase and the blank before it may be missing.
  const bool ok = line.size() >= 12 && line.starts_with("HTTP/1.") && is_digit(line[7]) &&
                  line[8] == ' ' && is_digit(line[9]) && is_digit(line[10]) && is_digit(line[11]) &&
                  (line.size() == 12 || line[12] == ' ') && line[9] != '0';
  if (!ok) return set_fault("the answer does not begin with an HTTP/1.1 status line");
  status_ = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
  keep_alive_ = line[7] != '0';
}

void ResponseParser::on_field(std::string_view line) {
  auto field = parse_field_line(line);
  if (!field) return set_fault("a field of the answer's header is malformed");
  if (headers_.size() >= kMaxHeaders) return set_fault("the answer has too many header fields");
  std::string_view value = field->value;
  if (field->name == "content-length") {
    const auto length = parse_decimal(value);
    if (!length || (length_ && *length_ != *length)) {
      return set_fault("the answer's Content-Length is malformed");
    }
    length_ = *length;
  } else if (field->name == "transfer-encoding") {
    if (!equals_ignoring_case(value, "chunked")) {
      return set_fault("the answer's Transfer-Encoding is not 'chunked'");
    }
    chunked_ = true;
  } else if (field->name == "connection") {
    while (const auto option = next_list_token(value)) {
      if (*option == "close") keep_alive_ = false;
      if (*option == "keep-alive") keep_alive_ = true;
    }
  }
  headers_.emplace_back(std::move(field->name), field->value);
}

void ResponseParser::on_head_end() {
  if (chunked_ && length_) {
    return set_fault("the answer has both Content-Length and Transfer-Encoding");
  }
  if (status_ >= 200) {
    state_ = State::kHeadDone;
    return;
  }
  if (status_ == 101 || ++interim_answers_ > kMaxInterimAnswers) {
    return set_fault("the answer has unexpected interim answers before it");
  }
  status_ = 0;
  headers_.clear();
  length_.reset();
  chunked_ = false;
}

void ResponseParser::accept_body() {
  state_ = State::kBody;
  if (answers_head_ || !status_has_body(status_) || (!chunked_ && length_ == 0)) {
    state_ = State::kDone;
  } else if (chunked_) {
    chunks_.emplace(UINT64_MAX);
  } else if (length_) {
    body_left_ = *length_;
  } else {
    until_close_ = true;
  }
}

Outcome ResponseParser::end_of_input() {
  if (state_ == State::kBody && until_close_) state_ = State::kDone;
  if (state_ == State::kDone) return {};
  return fail(Code::kUnavailable, begun_ ? "the server closed the connection in mid answer"
                                         : "the server closed the connection without an answer");
}

}  // namespace sluice::net
