#include "net/url.h"

#include <fmt/format.h>

#include <algorithm>

#include "net/syntax.h"
#include "net/target.h"

namespace sluice::net {

Result<Url> parse_url(std::string_view text) {
  const size_t colon = std::min(text.find("://"), text.size());
  Url url;
  url.scheme = to_lower(text.substr(0, colon));
  if (colon == text.size() || (url.scheme != "http" && url.scheme != "https")) {
    return invalid("a URL must begin with http:// or https://", "url");
  }
  const std::string_view rest = text.substr(colon + 3);
  url.authority = rest.substr(0, rest.find_first_of("/?"));
  if (!is_authority(url.authority)) {
    return invalid("a URL's host must be a name or address, with a port or not", "url");
  }
  url.target = rest.substr(url.authority.size());
  if (url.target.empty() || url.target.front() == '?') url.target.insert(0, "/");
  const bool plain = std::ranges::all_of(
      url.target, [](char c) { return c > 0x20 && c < 0x7f && c != '\\' && c != '#'; });
  if (!plain) {
    return invalid("a URL's path and query must be percent-encoded, without a fragment", "url");
  }
  const size_t bracket = url.authority.find(']');
  const size_t port_at = url.authority.find(':', bracket == std::string::npos ? 0 : bracket);
  url.host = url.authority.substr(0, port_at);
  if (url.host.starts_with('[')) url.host = url.host.substr(1, url.host.size() - 2);
  url.port = url.scheme == "http" ? 80 : 443;
  if (port_at != std::string::npos) {
    const auto port = parse_decimal(std::string_view(url.authority).substr(port_at + 1));
    if (!port || *port == 0 || *port > 65535) {
      return invalid("a URL's port must be a number from 1 to 65535", "url");
    }
    url.port = static_cast<uint16_t>(*port);
  }
  return url;
}

}  // namespace sluice::net
