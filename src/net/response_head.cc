#include "net/response_head.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <ctime>

#include "net/syntax.h"

namespace sluice::net {

namespace {

void append_number(size_t value, int base, std::string& out) {
  std::array<char, 24> digits;
  const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value, base).ptr;
  out.append(digits.data(), end);
}

// "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110 section 5.6.7), made once a second and thread.
std::string_view date_now() {
  constexpr std::array<std::string_view, 7> kDays = {"Sun", "Mon", "Tue", "Wed",
                                                     "Thu", "Fri", "Sat"};
  constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                        "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  thread_local std::time_t made_at = -1;
  thread_local std::string text;
  const std::time_t now = std::time(nullptr);
  if (now == made_at) return text;
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  const auto two = [](int value, char end) {
    text += static_cast<char>('0' + value / 10 % 10);
    text += static_cast<char>('0' + value % 10);
    text += end;
  };
  text.assign(kDays[utc.tm_wday]).append(", ");
  two(utc.tm_mday, ' ');
  text.append(kMonths[utc.tm_mon]).append(" ");
  append_number(static_cast<size_t>(utc.tm_year + 1900), 10, text);
  text += ' ';
  two(utc.tm_hour, ':');
  two(utc.tm_min, ':');
  two(utc.tm_sec, ' ');
  text += "GMT";
  made_at = now;
  return text;
}

bool is_servers_own(std::string_view name) {
  constexpr std::array<std::string_view, 6> kOwn = {
      "content-length", "transfer-encoding", "connection", "date", "keep-alive", "trailer"};
  return std::ranges::any_of(kOwn,
                             [&](std::string_view own) { return equals_ignoring_case(name, own); });
}

// What came from a user must not begin a new header line.
void append_field_value(std::string_view value, std::string& out) {
  if (is_field_value(value)) {
    out += value;
    return;
  }
  for (const char c : value) out += is_field_value({&c, 1}) ? c : ' ';
}

}  // namespace

bool status_has_body(int status) { return status >= 200 && status != 204 && status != 304; }

void append_response_head(int status, const Headers& headers, const Framing& framing,
                          std::string& out) {
  out += "HTTP/1.1 ";
  append_number(static_cast<size_t>(std::clamp(status, 100, 999)), 10, out);
  out.append(" ").append(reason_phrase(status)).append("\r\nDate: ").append(date_now());
  for (const auto& [name, value] : headers) {
    if (!is_token(name) || is_servers_own(name)) continue;
    out.append("\r\n").append(name).append(": ");
    append_field_value(value, out);
  }
  if (framing.length) {
    out += "\r\nContent-Length: ";
    append_number(*framing.length, 10, out);
  }
  if (framing.chunked) out += "\r\nTransfer-Encoding: chunked";
  if (framing.close) {
    out += "\r\nConnection: close";
  } else if (framing.keep_alive_10) {
    out += "\r\nConnection: keep-alive";
  }
  out += "\r\n\r\n";
}

void append_chunk(std::string_view bytes, std::string& out) {
  append_number(bytes.size(), 16, out);
  out.append("\r\n").append(bytes).append("\r\n");
}

}  // namespace sluice::net
