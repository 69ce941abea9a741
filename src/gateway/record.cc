#include "gateway/record.h"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <cmath>
#include <iterator>

namespace sluice::gateway {
namespace {

using Buffer = fmt::memory_buffer;

void append_text(Buffer& out, std::string_view name, std::string_view value) {
  if (value.empty()) return;
  fmt::format_to(std::back_inserter(out), ",\"{}\":\"", name);
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (byte < 0x20 || byte == 0x7f) {
      fmt::format_to(std::back_inserter(out), "\\u{:04x}", byte);
    } else {
      out.push_back(c);
    }
  }
  out.push_back('"');
}

double milliseconds(Duration d) { return std::round(to_seconds(d) * 1e6) / 1e3; }

}  // namespace

std::string_view ending_name(Ending ending) {
  constexpr std::array<std::string_view, 4> kNames = {"answered", "client_gone", "cut", "refused"};
  return kNames[static_cast<size_t>(ending)];
}

std::string access_line(const RequestRecord& r, Duration took) {
  Buffer out;
  const auto seconds = static_cast<int64_t>(r.unix_began);
  const auto micros = static_cast<int64_t>((r.unix_began - static_cast<double>(seconds)) * 1e6);
  const std::chrono::sys_seconds at{std::chrono::seconds(seconds)};
  const auto day = std::chrono::floor<std::chrono::days>(at);
  const std::chrono::year_month_day date(day);
  const std::chrono::hh_mm_ss time(at - day);
  fmt::format_to(std::back_inserter(out),
                 R"({{"time":"{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z")",
                 static_cast<int>(date.year()), static_cast<unsigned>(date.month()),
                 static_cast<unsigned>(date.day()), time.hours().count(), time.minutes().count(),
                 time.seconds().count(), micros);
  append_text(out, "id", r.id);
  append_text(out, "trace_id", r.trace_id);
  append_text(out, "peer", r.peer);
  append_text(out, "method", r.method);
  append_text(out, "path", r.path);
  append_text(out, "route", r.route);
  append_text(out, "model", r.model);
  append_text(out, "tenant", r.tenant);
  append_text(out, "key", r.key);
  append_text(out, "upstream", r.upstream);
  append_text(out, "replica", r.replica);
  fmt::format_to(std::back_inserter(out), R"(,"status":{},"ending":"{}")", r.status,
                 ending_name(r.ending));
  append_text(out, "error", r.error);
  append_text(out, "cache", r.cache);
  fmt::format_to(std::back_inserter(out), R"(,"attempts":{},"stream":{})", r.attempts, r.stream);
  if (r.hedged) fmt::format_to(std::back_inserter(out), R"(,"hedged":true)");
  if (r.fallback) fmt::format_to(std::back_inserter(out), R"(,"fallback":true)");
  if (r.waited > Duration::zero()) {
    fmt::format_to(std::back_inserter(out), R"(,"waited_ms":{})", milliseconds(r.waited));
  }
  if (r.tokenized > Duration::zero()) {
    fmt::format_to(std::back_inserter(out), R"(,"tokenize_ms":{})", milliseconds(r.tokenized));
  }
  if (r.first_byte > Duration::zero()) {
    fmt::format_to(std::back_inserter(out), R"(,"first_byte_ms":{})", milliseconds(r.first_byte));
  }
  fmt::format_to(std::back_inserter(out), R"(,"duration_ms":{},"bytes_in":{},"bytes_out":{}}})",
                 milliseconds(took), r.bytes_in, r.bytes_out);
  return fmt::to_string(out);
}

}  // namespace sluice::gateway
