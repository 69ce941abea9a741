#include "telemetry/otlp.h"

#include <bit>
#include <concepts>
#include <cstdint>
#include <string_view>

#include "base/build_info.h"

namespace sluice::telemetry {
namespace {

// Protobuf's wire types.
enum class Wire : uint32_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

// Appends fields to a message. Fields with their default value are left out by the caller.
class Message {
 public:
  void varint(uint32_t field, uint64_t value) {
    tag(field, Wire::kVarint);
    number(value);
  }
  void fixed64(uint32_t field, uint64_t value) {
    tag(field, Wire::kFixed64);
    for (int i = 0; i < 8; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }
  void fixed32(uint32_t field, uint32_t value) {
    tag(field, Wire::kFixed32);
    for (int i = 0; i < 4; ++i) bytes_ += static_cast<char>(value >> (8 * i));
  }
  void text(uint32_t field, std::string_view value) {
    tag(field, Wire::kBytes);
    number(value.size());
    bytes_.append(value);
  }
  template <size_t N>
  void bytes(uint32_t field, const std::array<uint8_t, N>& value) {
    text(field, {reinterpret_cast<const char*>(value.data()), N});
  }
  void message(uint32_t field, const Message& value) { text(field, value.bytes_); }
  std::string take() { return std::move(bytes_); }

 private:
  void tag(uint32_t field, Wire wire) { number(field << 3 | static_cast<uint32_t>(wire)); }
  void number(uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_ += static_cast<char>(value | 0x80);
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

// common.v1.AnyValue
Message any_value(const AttributeValue& value) {
  Message out;
  struct Writer {
    Message& out;
    void operator()(bool v) const { out.varint(2, v ? 1 : 0); }
    void operator()(int64_t v) const { out.varint(3, static_cast<uint64_t>(v)); }
    void operator()(double v) const { out.fixed64(4, std::bit_cast<uint64_t>(v)); }
    void operator()(const std::string& v) const { out.text(1, v); }
    void operator()(const std::vector<std::string>& v) const {
      Message array;  // ArrayValue
      for (const std::string& each : v) array.message(1, any_value(each));
      out.message(5, array);
    }
  };
  std::visit(Writer{out}, value);
  return out;
}

// common.v1.KeyValue, repeated
void add_attributes(Message& to, uint32_t field, const std::vector<Attribute>& attributes) {
  for (const Attribute& each : attributes) {
    Message pair;
    pair.text(1, each.name);
    pair.message(2, any_value(each.value));
    to.message(field, pair);
  }
}

// trace.v1.Span
Message span_message(const Span& span) {
  Message out;
  out.bytes(1, span.context.trace);
  out.bytes(2, span.context.span);
  if (span.parent != SpanId{}) out.bytes(4, span.parent);
  out.text(5, span.name);
  out.varint(6, static_cast<uint64_t>(span.kind) + 1);
  out.fixed64(7, static_cast<uint64_t>(span.begin_unix_nanos));
  out.fixed64(8, static_cast<uint64_t>(span.end_unix_nanos));
  add_attributes(out, 9, span.attributes);
  for (const SpanEvent& each : span.events) {
    Message event;
    event.fixed64(1, static_cast<uint64_t>(each.unix_nanos));
    event.text(2, each.name);
    add_attributes(event, 3, each.attributes);
    out.message(11, event);
  }
  if (span.failed) {
    constexpr uint64_t kError = 2;
    Message status;
    if (!span.message.empty()) status.text(2, span.message);
    status.varint(3, kError);
    out.message(15, status);
  }
  out.fixed32(16, span.context.sampled ? 1 : 0);
  return out;
}

}  // namespace

std::string encode_spans(const std::vector<Attribute>& resource, std::span<const Span> spans) {
  Message from;
  add_attributes(from, 1, resource);
  Message scope;
  scope.text(1, "sluice");
  scope.text(2, kVersion);
  Message scoped;
  scoped.message(1, scope);
  for (const Span& span : spans) scoped.message(2, span_message(span));
  Message all;
  all.message(1, from);
  all.message(2, scoped);
  Message request;
  request.message(1, all);
  return request.take();
}

}  // namespace sluice::telemetry
