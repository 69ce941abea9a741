#include "net/request_parser.h"

#include <algorithm>
#include <array>
#include <utility>

#include <fmt/format.h>

#include "net/syntax.h"
#include "net/target.h"

namespace sluice::net {

namespace {

constexpr std::array<std::string_view, 7> kMethods = {"GET",   "HEAD",   "POST",   "PUT",
                                                      "PATCH", "DELETE", "OPTIONS"};
constexpr size_t kMaxMethodBytes = 16;
constexpr size_t kVersionBytes = 8;         // "HTTP/1.1"
constexpr size_t kReservedBody = 1u << 20;  // more is reserved only as it arrives

bool is_digit(char c) { return c >= '0' && c <= '9'; }

}  // namespace

void RequestParser::set_fault(int status, std::string_view reason, std::string message) {
  state_ = State::kFault;
  fault_ = {.status = status, .message = std::move(message), .reason = reason};
}

size_t RequestParser::feed(std::string_view bytes) {
  size_t consumed = 0;
  while (consumed < bytes.size() && (state_ == State::kHead || state_ == State::kBody)) {
    begun_ = true;
    const std::string_view rest = bytes.substr(consumed);
    consumed += state_ == State::kBody ? feed_body(rest) : feed_line(rest);
  }
  return consumed;
}

size_t RequestParser::feed_line(std::string_view bytes) {
  const size_t limit = in_fields_
                           ? limits_.header_bytes - std::min(head_bytes_, limits_.header_bytes)
                           : kMaxMethodBytes + limits_.target_bytes + kVersionBytes + 4;
  const size_t taken = lines_.feed(bytes, limit);
  switch (lines_.state()) {
    case LineReader::State::kMore:
      break;
    case LineReader::State::kLine:
      on_line(lines_.line());
      break;
    case LineReader::State::kTooLong:
      line_too_long(lines_.line());
      break;
    case LineReader::State::kBareLf:
      set_fault(400, "bad_line_end", "a line must end in CR LF; a bare LF was found");
      break;
  }
  return taken;
}

// `prefix` is as much of the line as is taken at all.
void RequestParser::line_too_long(std::string_view prefix) {
  if (in_fields_) {
    return set_fault(431, "header_too_large",
                     fmt::format("the header is larger than {} bytes", limits_.header_bytes));
  }
  if (prefix.substr(0, kMaxMethodBytes + 1).find(' ') == std::string_view::npos) {
    return set_fault(501, "method", "the request's method is not supported");
  }
  set_fault(414, "target_too_long",
            fmt::format("the request target is longer than {} bytes", limits_.target_bytes));
}

void RequestParser::on_line(std::string_view line) {
  if (in_fields_) {
    head_bytes_ += line.size() + 2;
    return line.empty() ? on_head_end() : on_field(line);
  }
  if (line.empty() && !skipped_empty_line_) {
    skipped_empty_line_ = true;  // some clients send one CR LF too many behind a body
    begun_ = false;
    return;
  }
  on_request_line(line);
}

void RequestParser::on_request_line(std::string_view line) {
  const auto bad = [&](std::string message) {
    set_fault(400, "bad_request_line", std::move(message));
  };
  const size_t first = line.find(' ');
  const size_t last = line.rfind(' ');
  if (first == std::string_view::npos || first == last) {
    return bad("the request line must be: METHOD target HTTP/1.1");
  }
  const std::string_view method = line.substr(0, first);
  const std::string_view target = line.substr(first + 1, last - first - 1);
  const std::string_view version = line.substr(last + 1);
  if (!is_token(method)) return bad("the request's method holds an illegal character");
  const bool version_ok = version.size() == kVersionBytes && version.starts_with("HTTP/") &&
                          is_digit(version[5]) && version[6] == '.' && is_digit(version[7]);
  if (!version_ok) return bad("the request line must end in HTTP/1.1");
  if (version[5] != '1') {
    return set_fault(505, "version", "HTTP/1.1 is spoken here, no other major version");
  }
  http10_ = version[7] == '0';
  keep_alive_ = !http10_;
  if (std::ranges::find(kMethods, method) == kMethods.end()) {
    return set_fault(501, "method", "the request's method is not supported");
  }
  if (target.size() > limits_.target_bytes) {
    return set_fault(
        414, "target_too_long",
        fmt::format("the request target is longer than {} bytes", limits_.target_bytes));
  }
  auto parsed = parse_target(target);
  if (!parsed) return set_fault(400, "bad_target", parsed.error().message());
  if (parsed->path == "*" && method != "OPTIONS") {
    return set_fault(400, "bad_target", "the target '*' goes with OPTIONS only");
  }
  request_.method = method;
  request_.target = target;
  request_.path = std::move(parsed->path);
  request_.query = std::move(parsed->query);
  authority_ = std::move(parsed->authority);
  in_fields_ = true;
}

void RequestParser::on_field(std::string_view line) {
  auto field = parse_field_line(line);
  if (!field) {
    return set_fault(400, "bad_header",
                     "a header field is malformed: expected 'Name: value' on one line, without "
                     "blanks before the colon or control characters");
  }
  if (request_.headers.size() >= limits_.headers) {
    return set_fault(431, "too_many_headers",
                     fmt::format("the request has more than {} header fields", limits_.headers));
  }
  on_special_field(field->name, field->value);
  request_.headers.emplace_back(std::move(field->name), field->value);
}

void RequestParser::on_special_field(std::string_view name, std::string_view value) {
  // Fields that decide who asks for what: two of them mean that two parsers may disagree.
  constexpr std::array<std::string_view, 4> kSingle = {"host", "authorization", "content-type",
                                                       "transfer-encoding"};
  if (std::ranges::find(kSingle, name) != kSingle.end()) {
    const bool seen = std::ranges::any_of(request_.headers,
                                          [&](const auto& field) { return field.first == name; });
    if (seen) return set_fault(400, "bad_header", fmt::format("the field {} came twice", name));
  }
  if (name == "content-length") return on_content_length(value);
  if (name == "transfer-encoding") return on_transfer_encoding(value);
  if (name == "connection") return on_connection(value);
  if (name == "host" && !is_authority(value)) {
    return set_fault(400, "bad_host",
                     "the Host field must be a name or address, with a port or not");
  }
  if (name == "expect" && !http10_) {
    if (!equals_ignoring_case(value, "100-continue")) {
      return set_fault(417, "expectation", "the only expectation met here is 100-continue");
    }
    expects_continue_ = true;
  }
  if (name == "content-encoding" && !equals_ignoring_case(value, "identity")) {
    return set_fault(415, "content_encoding", "send the body without a content encoding");
  }
}

void RequestParser::on_content_length(std::string_view value) {
  if (has_length_) return set_fault(400, "bad_length", "the field Content-Length came twice");
  const auto length = parse_decimal(value);
  if (!length) return set_fault(400, "bad_length", "Content-Length must be a plain decimal number");
  has_length_ = true;
  body_left_ = *length;
}

void RequestParser::on_transfer_encoding(std::string_view value) {
  if (http10_) {
    return set_fault(400, "bad_transfer_encoding", "HTTP/1.0 knows no Transfer-Encoding");
  }
  if (equals_ignoring_case(value, "chunked")) {
    chunked_ = true;
    return;
  }
  const bool unknown = is_token(value) && to_lower(value).find("chunked") == std::string::npos;
  set_fault(unknown ? 501 : 400, "bad_transfer_encoding",
            "the only Transfer-Encoding taken is 'chunked'");
}

void RequestParser::on_connection(std::string_view value) {
  while (const auto option = next_list_token(value)) {
    if (*option == "close") keep_alive_ = false;
    if (*option == "keep-alive" && http10_) keep_alive_ = true;
  }
}

void RequestParser::on_head_end() {
  const std::string_view host = request_.header("host");
  if (host.empty() && !http10_) return set_fault(400, "bad_host", "the field Host is missing");
  if (!authority_.empty() && !host.empty() && !equals_ignoring_case(authority_, host)) {
    return set_fault(400, "bad_host", "the request target and the Host field name different hosts");
  }
  if (chunked_ && has_length_) {
    return set_fault(400, "bad_length", "Content-Length and Transfer-Encoding exclude each other");
  }
  if (body_left_ > limits_.body_bytes) {
    return set_fault(
        413, "body_too_large",
        fmt::format("the body has {} bytes; at most {} are taken", body_left_, limits_.body_bytes));
  }
  state_ = State::kHeadDone;
}

void RequestParser::accept_body() {
  if (!has_body()) {
    state_ = State::kDone;
    return;
  }
  state_ = State::kBody;
  if (chunked_) chunks_.emplace(limits_.body_bytes);
  request_.body.reserve(std::min<size_t>(body_left_, kReservedBody));
}

// Takes the next piece of the body.
size_t RequestParser::feed_body(std::string_view bytes) {
  if (!chunks_) {
    const auto taken = static_cast<size_t>(std::min<uint64_t>(bytes.size(), body_left_));
    request_.body.append(bytes.substr(0, taken));
    body_left_ -= taken;
    if (body_left_ == 0) state_ = State::kDone;
    return taken;
  }
  std::string_view data;
  const size_t taken = chunks_->feed(bytes, data);
  request_.body.append(data);
  on_chunk_state(chunks_->state());
  return taken;
}

void RequestParser::on_chunk_state(ChunkDecoder::State chunks) {
  switch (chunks) {
    case ChunkDecoder::State::kMore:
      return;
    case ChunkDecoder::State::kDone:
      state_ = State::kDone;
      return;
    case ChunkDecoder::State::kBadLine:
      return set_fault(400, "bad_chunk",
                       "a chunk must begin with its size in hex digits and CR LF");
    case ChunkDecoder::State::kBadEnd:
      return set_fault(400, "bad_chunk", "a chunk's data must be followed by CR LF");
    case ChunkDecoder::State::kBadTrailer:
      return set_fault(400, "bad_header", "a trailer field is malformed");
    case ChunkDecoder::State::kTrailersTooLong:
      return set_fault(431, "header_too_large", "the trailer fields are too large");
    case ChunkDecoder::State::kTooLarge:
      return set_fault(413, "body_too_large",
                       fmt::format("the body has more than {} bytes", limits_.body_bytes));
  }
}

void RequestParser::reset() { *this = RequestParser(limits_); }

}  // namespace sluice::net
