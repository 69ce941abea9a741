// An absolute http URL taken apart. Pure functions on foreign text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::net {

struct Url {
  std::string scheme;     // "http" or "https"
  std::string host;       // name or address, without brackets
  uint16_t port = 0;      // the scheme's own when none is given
  std::string authority;  // as it goes into the Host field
  std::string target;     // path and query, "/" at least
};

// Refuses other schemes, user names, blanks, control characters and whatever could be read as
// another host by another parser (backslashes, '@', fragments).
Result<Url> parse_url(std::string_view text);

}  // namespace sluice::net
