// The bytes of the internal protocol's messages: Protocol Buffers' wire format, written and read by
// hand, as the hot path of a gateway must not build a tree for every token.
//
// A message is a sequence of fields, each a key (number << 3 | kind) and a value (Protocol Buffers,
// "Encoding"). A field at its default value is left out. Unlike protobuf's, this reader is strict:
// whoever reads a message refuses a field that it does not know, since it could not honour it.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"

namespace sluice::api {

// Appends fields to a string that it does not own. Values at their default write nothing.
class WireWriter {
 public:
  explicit WireWriter(std::string& out) : out_(out) {}

  void uint(uint32_t field, uint64_t value);
  void sint(uint32_t field, int64_t value);  // small for small negative values too
  void flag(uint32_t field, bool value) { uint(field, value ? 1 : 0); }
  void real(uint32_t field, double value);  // to the bit; 0.0 is the default
  void bytes(uint32_t field, std::string_view value);
  void ids(uint32_t field, std::span<const int32_t> values);  // not below 0

  // The same for a value that is told even when it is the default.
  void set_uint(uint32_t field, uint64_t value);
  void set_sint(uint32_t field, int64_t value);
  void set_real(uint32_t field, double value);
  void set_float(uint32_t field, float value);
  void set_bytes(uint32_t field, std::string_view value);

  // A message within the message: whatever `write(WireWriter&)` writes.
  template <typename Write>
  void message(uint32_t field, Write write) {
    const size_t at = open(field);
    WireWriter inner(out_);
    write(inner);
    close(at);
  }

 private:
  void key(uint32_t field, uint32_t kind) { varint(uint64_t{field} << 3 | kind); }
  void varint(uint64_t value);
  size_t open(uint32_t field);
  void close(size_t at);

  std::string& out_;
};

// Reads one message, field by field:
//   while (reader.next()) switch (reader.field()) { case 1: x = reader.uint(); … }
//   return reader.outcome();
// A value asked for in another form than it has, or past the end, is an error: it reads as nothing,
// next() is false from then on and outcome() says why. The bytes outlive the reader.
class WireReader {
 public:
  // `what` names the message in errors.
  WireReader(std::string_view bytes, std::string_view what) : left_(bytes), what_(what) {}

  bool next();
  uint32_t field() const { return field_; }

  uint64_t uint();
  int64_t sint();
  bool flag() { return uint_up_to(1) != 0; }
  uint64_t uint_up_to(uint64_t most);
  int64_t sint_within(int64_t least, int64_t most);
  double real();
  float real32();
  std::string_view bytes(size_t most = SIZE_MAX);
  std::string text(size_t most = SIZE_MAX);  // valid UTF-8
  // Appends ids from 0 to 2^31-1; `values` may have `most` in all.
  void ids(std::vector<int32_t>& values, size_t most = SIZE_MAX);

  void unknown();                   // this field has no meaning here
  void fail(std::string_view why);  // this field's value has none
  void fail(Status status);         // as found by whoever read a message within
  bool failed() const { return failed_; }
  Outcome outcome() const;

 private:
  enum class Kind : uint8_t { kVarint = 0, kFixed64 = 1, kBytes = 2, kFixed32 = 5 };

  bool expect(Kind kind);
  bool varint(uint64_t& value);
  uint64_t fixed(size_t size);

  std::string_view left_;
  std::string_view what_;
  uint32_t field_ = 0;
  Kind kind_ = Kind::kVarint;
  bool pending_ = false;  // the field's value was not read yet
  bool failed_ = false;
  Status error_{Code::kInvalidArgument, ""};
};

}  // namespace sluice::api
