#include "telemetry/trace_context.h"

#include <algorithm>
#include <span>

#include "base/rng.h"

namespace sluice::telemetry {
namespace {

constexpr std::string_view kDigits = "0123456789abcdef";

// Lower case only, as the standard has it.
bool read_hex(std::string_view text, std::span<uint8_t> out) {
  for (size_t i = 0; i < out.size(); ++i) {
    const size_t high = kDigits.find(text[2 * i]);
    const size_t low = kDigits.find(text[2 * i + 1]);
    if (high == std::string_view::npos || low == std::string_view::npos) return false;
    out[i] = static_cast<uint8_t>(high << 4 | low);
  }
  return true;
}

void append_hex(std::string& out, std::span<const uint8_t> bytes) {
  for (const uint8_t byte : bytes) {
    out += kDigits[byte >> 4];
    out += kDigits[byte & 15];
  }
}

template <size_t N>
std::array<uint8_t, N> random_bytes() {
  thread_local Rng rng(random_seed());
  std::array<uint8_t, N> out{};
  for (size_t i = 0; i < N; i += 8) {
    const uint64_t word = rng.next();
    for (size_t j = 0; j < 8; ++j) out[i + j] = static_cast<uint8_t>(word >> (8 * j));
  }
  out[N - 1] |= 1;
  return out;
}

}  // namespace

std::optional<SpanContext> parse_traceparent(std::string_view text) {
  constexpr size_t kLength = 55;
  if (text.size() < kLength || text[2] != '-' || text[35] != '-' || text[52] != '-') {
    return std::nullopt;
  }
  std::array<uint8_t, 1> version{};
  std::array<uint8_t, 1> flags{};
  SpanContext context;
  if (!read_hex(text.substr(0, 2), version) || version[0] == 0xff) return std::nullopt;
  if (text.size() > kLength && (version[0] == 0 || text[kLength] != '-')) return std::nullopt;
  if (!read_hex(text.substr(3, 32), context.trace) ||
      !read_hex(text.substr(36, 16), context.span) || !read_hex(text.substr(53, 2), flags) ||
      !context.valid()) {
    return std::nullopt;
  }
  context.sampled = (flags[0] & 1) != 0;
  return context;
}

std::string to_traceparent(const SpanContext& context) {
  std::string out = "00-";
  out.reserve(55);
  append_hex(out, context.trace);
  out += '-';
  append_hex(out, context.span);
  out += context.sampled ? "-01" : "-00";
  return out;
}

std::string to_hex(const TraceId& id) {
  std::string out;
  append_hex(out, id);
  return out;
}

TraceId new_trace_id() { return random_bytes<16>(); }
SpanId new_span_id() { return random_bytes<8>(); }

}  // namespace sluice::telemetry
