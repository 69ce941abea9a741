// The head of a response as bytes.
#pragma once

#include <cstddef>
#include <optional>
#include <string>

#include "net/http.h"

namespace sluice::net {

// How the client finds the body's end.
struct Framing {
  std::optional<size_t> length = std::nullopt;  // Content-Length
  bool chunked = false;
  bool close = false;          // "Connection: close"
  bool keep_alive_10 = false;  // "Connection: keep-alive", which HTTP/1.0 wants to hear
};

// Appends status line, Date, framing and those of `headers` that are not the server's business.
void append_response_head(int status, const Headers& headers, const Framing& framing,
                          std::string& out);

// 1xx, 204 and 304 answers have no body and no length.
bool status_has_body(int status);

// Appends one chunk of the chunked coding; `bytes` must not be empty.
void append_chunk(std::string_view bytes, std::string& out);
inline constexpr std::string_view kLastChunk = "0\r\n\r\n";

}  // namespace sluice::net
