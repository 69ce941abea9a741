// The request target: from the bytes of the request line to one canonical path.
//
// Pure functions on foreign bytes; RFC 3986 sections 2 and 3.3, RFC 9112 section 3.2.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::net {

struct Target {
  std::string path;       // see HttpRequest::path
  std::string query;      // as sent
  std::string authority;  // of an absolute target ("http://host/…"), else empty
};

// Refuses (kInvalidArgument): bytes that no URI holds, bad or overlong escapes, control
// characters, broken UTF-8, "." and ".." segments in any spelling.
Result<Target> parse_target(std::string_view raw);

// "host", "host:port" or "[v6]:port", as the Host field may hold it.
bool is_authority(std::string_view text);

// A path of HttpRequest::path's form with its two remaining escapes decoded too.
std::string decode_segment(std::string_view segment);

}  // namespace sluice::net
