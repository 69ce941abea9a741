#include "api/internal_wire.h"

#include <fmt/format.h>

#include <cstring>
#include <limits>
#include <utility>

#include "api/json_text.h"

namespace sluice::api {
namespace {

constexpr int kMaxVarint = 10;
constexpr uint32_t kMaxField = 1 << 10;

uint64_t zigzag(int64_t value) {
  return (static_cast<uint64_t>(value) << 1) ^ static_cast<uint64_t>(value >> 63);
}

int64_t unzigzag(uint64_t value) {
  return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
}

size_t write_varint(char* at, uint64_t value) {
  size_t n = 0;
  while (value >= 0x80) {
    at[n++] = static_cast<char>(value | 0x80);
    value >>= 7;
  }
  at[n++] = static_cast<char>(value);
  return n;
}

}  // namespace

void WireWriter::varint(uint64_t value) {
  char buffer[kMaxVarint];
  out_.append(buffer, write_varint(buffer, value));
}

void WireWriter::uint(uint32_t field, uint64_t value) {
  if (value != 0) set_uint(field, value);
}

void WireWriter::sint(uint32_t field, int64_t value) {
  if (value != 0) set_sint(field, value);
}

void WireWriter::real(uint32_t field, double value) {
  if (std::bit_cast<uint64_t>(value) != 0) set_real(field, value);
}

void WireWriter::bytes(uint32_t field, std::string_view value) {
  if (!value.empty()) set_bytes(field, value);
}

void WireWriter::set_uint(uint32_t field, uint64_t value) {
  key(field, 0);
  varint(value);
}

void WireWriter::set_sint(uint32_t field, int64_t value) { set_uint(field, zigzag(value)); }

void WireWriter::set_real(uint32_t field, double value) {
  key(field, 1);
  const auto bits = std::bit_cast<uint64_t>(value);
  char buffer[sizeof bits];
  std::memcpy(buffer, &bits, sizeof bits);
  out_.append(buffer, sizeof buffer);
}

void WireWriter::set_float(uint32_t field, float value) {
  key(field, 5);
  const auto bits = std::bit_cast<uint32_t>(value);
  char buffer[sizeof bits];
  std::memcpy(buffer, &bits, sizeof bits);
  out_.append(buffer, sizeof buffer);
}

void WireWriter::set_bytes(uint32_t field, std::string_view value) {
  key(field, 2);
  varint(value.size());
  out_.append(value);
}

void WireWriter::ids(uint32_t field, std::span<const int32_t> values) {
  if (values.empty()) return;
  const size_t at = open(field);
  for (const int32_t value : values) varint(static_cast<uint32_t>(value));
  close(at);
}

// The length is not known yet: it is put in when it is, most often one byte long.
size_t WireWriter::open(uint32_t field) {
  key(field, 2);
  out_ += '\0';
  return out_.size();
}

void WireWriter::close(size_t at) {
  char buffer[kMaxVarint];
  const size_t n = write_varint(buffer, out_.size() - at);
  if (n > 1) out_.insert(at, n - 1, '\0');
  std::memcpy(out_.data() + at - 1, buffer, n);
}

bool WireReader::varint(uint64_t& value) {
  value = 0;
  for (size_t i = 0; i < left_.size() && i < kMaxVarint; ++i) {
    const auto byte = static_cast<unsigned char>(left_[i]);
    if (i == kMaxVarint - 1 && byte > 1) break;  // more than 64 bits
    value |= uint64_t{byte & 0x7Fu} << (7 * i);
    if (byte < 0x80) {
      left_.remove_prefix(i + 1);
      return true;
    }
  }
  fail("is cut short or has more than 64 bits");
  return false;
}

bool WireReader::next() {
  if (!failed_ && pending_) fail("was not read");
  if (failed_ || left_.empty()) return false;
  uint64_t key = 0;
  field_ = 0;
  if (!varint(key)) return false;
  const uint64_t number = key >> 3;
  if (number == 0 || number > kMaxField) {
    fail("has no valid number");
    return false;
  }
  field_ = static_cast<uint32_t>(number);
  kind_ = static_cast<Kind>(key & 7);
  pending_ = true;
  return true;
}

bool WireReader::expect(Kind kind) {
  if (failed_) return false;
  pending_ = false;
  if (kind_ == kind) return true;
  fail(fmt::format("must be of wire type {}, not {}", static_cast<int>(kind),
                   static_cast<int>(kind_)));
  return false;
}

uint64_t WireReader::uint() {
  uint64_t value = 0;
  return expect(Kind::kVarint) && varint(value) ? value : 0;
}

int64_t WireReader::sint() { return unzigzag(uint()); }

uint64_t WireReader::uint_up_to(uint64_t most) {
  const uint64_t value = uint();
  if (value <= most) return value;
  fail(fmt::format("must be at most {}, not {}", most, value));
  return 0;
}

int64_t WireReader::sint_within(int64_t least, int64_t most) {
  const int64_t value = sint();
  if (failed_) return least;
  if (value >= least && value <= most) return value;
  fail(fmt::format("must be from {} to {}, not {}", least, most, value));
  return least;
}

uint64_t WireReader::fixed(size_t size) {
  uint64_t bits = 0;
  if (left_.size() < size) {
    fail("is cut short");
    return 0;
  }
  std::memcpy(&bits, left_.data(), size);
  left_.remove_prefix(size);
  return bits;
}

double WireReader::real() {
  return expect(Kind::kFixed64) ? std::bit_cast<double>(fixed(sizeof(double))) : 0.0;
}

float WireReader::real32() {
  if (!expect(Kind::kFixed32)) return 0.0f;
  return std::bit_cast<float>(static_cast<uint32_t>(fixed(sizeof(float))));
}

std::string_view WireReader::bytes(size_t most) {
  uint64_t size = 0;
  if (!expect(Kind::kBytes) || !varint(size)) return {};
  if (size > left_.size()) {
    fail("is cut short");
    return {};
  }
  if (size > most) {
    fail(fmt::format("has {} bytes; at most {} are taken", size, most));
    return {};
  }
  const std::string_view value = left_.substr(0, size);
  left_.remove_prefix(size);
  return value;
}

std::string WireReader::text(size_t most) {
  const std::string_view value = bytes(most);
  if (is_utf8(value)) return std::string(value);
  fail("is not valid UTF-8");
  return {};
}

void WireReader::ids(std::vector<int32_t>& values, size_t most) {
  const std::string_view packed = bytes();
  if (failed_) return;
  WireReader inner(packed, what_);
  inner.field_ = field_;
  values.reserve(std::min(most, values.size() + packed.size()));
  while (!inner.left_.empty()) {
    uint64_t value = 0;
    if (!inner.varint(value)) return fail(inner.error_);
    if (value > static_cast<uint64_t>(std::numeric_limits<int32_t>::max())) {
      return fail(fmt::format("holds the id {}", value));
    }
    if (values.size() >= most) return fail(fmt::format("has more than {} entries", most));
    values.push_back(static_cast<int32_t>(value));
  }
}

void WireReader::unknown() { fail("is not known to this version"); }

void WireReader::fail(std::string_view why) {
  fail(Status(Code::kInvalidArgument, fmt::format("{}: field {} {}", what_, field_, why)));
}

void WireReader::fail(Status status) {
  if (!failed_) error_ = std::move(status);
  failed_ = true;
  pending_ = false;
}

Outcome WireReader::outcome() const {
  if (failed_) return std::unexpected(error_);
  return {};
}

}  // namespace sluice::api
