#include "net/target.h"

#include <algorithm>
#include <cstdint>

#include "net/http.h"
#include "net/syntax.h"

namespace sluice::net {

namespace {

bool is_alnum(char c) {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

// Printable ASCII but for what may not stand in a URI unescaped and what other parsers take for
// a slash or an end.
bool is_uri_char(char c) {
  return c > 0x20 && c < 0x7f && c != '#' && c != '\\' && c != '"' && c != '<' && c != '>';
}

// Bytes of the well-formed UTF-8 sequence at the front of `text`, or 0 (Unicode 15, table 3-7).
size_t utf8_length(std::string_view text) {
  const auto at = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const auto tail = [&](size_t i, uint8_t low = 0x80, uint8_t high = 0xbf) {
    return i < text.size() && at(i) >= low && at(i) <= high;
  };
  const uint8_t lead = at(0);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return tail(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const uint8_t low = lead == 0xe0 ? 0xa0 : 0x80;
    const uint8_t high = lead == 0xed ? 0x9f : 0xbf;
    return tail(1, low, high) && tail(2) ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const uint8_t low = lead == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = lead == 0xf4 ? 0x8f : 0xbf;
    return tail(1, low, high) && tail(2) && tail(3) ? 4 : 0;
  }
  return 0;
}

// Every escape of one segment decoded.
Result<std::string> decode(std::string_view segment) {
  std::string out;
  out.reserve(segment.size());
  for (size_t i = 0; i < segment.size(); ++i) {
    if (segment[i] != '%') {
      out += segment[i];
      continue;
    }
    const int high = i + 2 < segment.size() ? hex_digit(segment[i + 1]) : -1;
    const int low = i + 2 < segment.size() ? hex_digit(segment[i + 2]) : -1;
    if (high < 0 || low < 0) return invalid("'%' in the path must be followed by two hex digits");
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

Outcome check_segment(std::string_view segment) {
  if (segment == "." || segment == "..") {
    return invalid("the path holds a '.' or '..' segment; send it resolved");
  }
  for (size_t i = 0; i < segment.size();) {
    const auto byte = static_cast<uint8_t>(segment[i]);
    if (byte < 0x20 || byte == 0x7f) return invalid("the path holds an escaped control character");
    const size_t length = utf8_length(segment.substr(i));
    if (length == 0) return invalid("the path is not valid UTF-8");
    i += length;
  }
  return {};
}

Result<std::string> canonical_path(std::string_view raw) {
  std::string path;
  path.reserve(raw.size());
  while (!raw.empty()) {
    raw.remove_prefix(1);  // its '/'
    const std::string_view encoded = raw.substr(0, raw.find('/'));
    raw.remove_prefix(encoded.size());
    SLUICE_ASSIGN_OR_RETURN(const std::string segment, decode(encoded));
    SLUICE_RETURN_IF_ERROR(check_segment(segment));
    path += '/';
    for (const char c : segment) {
      if (c == '/') {
        path += "%2F";
      } else if (c == '%') {
        path += "%25";
      } else {
        path += c;
      }
    }
  }
  return path;
}

}  // namespace

bool is_authority(std::string_view text) {
  std::string_view port;
  if (text.starts_with('[')) {
    const size_t end = text.find(']');
    if (end == std::string_view::npos || end < 3) return false;
    const std::string_view address = text.substr(1, end - 1);
    const bool plausible = std::ranges::all_of(
        address, [](char c) { return hex_digit(c) >= 0 || c == ':' || c == '.'; });
    if (!plausible) return false;
    port = text.substr(end + 1);
  } else {
    const size_t colon = std::min(text.find(':'), text.size());
    const std::string_view host = text.substr(0, colon);
    const bool plausible = !host.empty() && std::ranges::all_of(host, [](char c) {
      return is_alnum(c) || c == '-' || c == '.' || c == '_';
    });
    if (!plausible) return false;
    port = text.substr(colon);
  }
  if (port.empty()) return true;
  if (port.front() != ':') return false;
  port.remove_prefix(1);
  return port.size() <= 5 && std::ranges::all_of(port, [](char c) { return c >= '0' && c <= '9'; });
}

Result<Target> parse_target(std::string_view raw) {
  if (!std::ranges::all_of(raw, is_uri_char)) {
    return invalid("the request target holds a character that must be percent-encoded");
  }
  Target target;
  if (raw == "*") {
    target.path = raw;
    return target;
  }
  const size_t scheme = raw.find("://");
  if (!raw.starts_with('/') && scheme != std::string_view::npos) {
    const std::string_view name = raw.substr(0, scheme);
    if (!equals_ignoring_case(name, "http") && !equals_ignoring_case(name, "https")) {
      return invalid("the request target's scheme must be http or https");
    }
    raw.remove_prefix(scheme + 3);
    const std::string_view authority = raw.substr(0, raw.find_first_of("/?"));
    if (!is_authority(authority)) return invalid("the request target's host is malformed");
    target.authority = authority;
    raw.remove_prefix(authority.size());
    if (raw.empty() || raw.front() == '?') target.path = "/";
  } else if (!raw.starts_with('/')) {
    return invalid("the request target must begin with '/'");
  }
  const size_t question = std::min(raw.find('?'), raw.size());
  if (question > 0) {
    SLUICE_ASSIGN_OR_RETURN(target.path, canonical_path(raw.substr(0, question)));
  }
  if (question < raw.size()) target.query = raw.substr(question + 1);
  return target;
}

std::string decode_segment(std::string_view segment) {
  std::string out;
  out.reserve(segment.size());
  for (size_t i = 0; i < segment.size(); ++i) {
    const std::string_view escape = segment.substr(i, 3);
    if (escape == "%2F" || escape == "%25") {
      out += escape == "%2F" ? '/' : '%';
      i += 2;
    } else {
      out += segment[i];
    }
  }
  return out;
}

}  // namespace sluice::net
