// The plain values of HTTP: a request and a response, whole in memory.
//
// Values with no thread of their own. Nothing here knows sockets.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sluice::net {

using Headers = std::vector<std::pair<std::string, std::string>>;

// The first value of `name` (any letter case), or empty.
std::string_view find_header(const Headers& headers, std::string_view name);

// ASCII letters compare equal in either case.
bool equals_ignoring_case(std::string_view a, std::string_view b);

struct HttpRequest {
  std::string method;
  std::string target;  // as sent
  // The path decoded once. Every escape is decoded but two: a slash inside a segment stays "%2F"
  // and a per cent sign "%25", so two targets have one path exactly when they name one resource,
  // and prefixes may be compared. It starts with '/' (or is "*"), holds no "." or ".." segment,
  // no control character and only valid UTF-8.
  std::string path;
  std::string query;  // behind the '?', as sent
  Headers headers;    // names in lower case
  std::string body;   // transfer coding removed
  std::string peer;   // address of the socket's other end: "127.0.0.1:40312", "[::1]:8000", "unix"
  // What a handler knows of it already: left by refuse() for handle(), or by a handler that passes
  // it on to another one. Never off the wire.
  mutable std::shared_ptr<const void> context = {};

  std::string_view header(std::string_view name) const { return find_header(headers, name); }
};

struct HttpResponse {
  int status = 200;
  // The server adds Content-Length, Transfer-Encoding, Date and Connection itself and drops those
  // given here, except "Connection: close", which it honours. Control characters in values are
  // replaced by blanks.
  Headers headers = {};
  std::string body = {};
};

// "Not Found" for 404; "Unknown" for a code that has no name.
std::string_view reason_phrase(int status);

}  // namespace sluice::net
