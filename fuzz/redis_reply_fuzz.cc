// Replies of Redis: the same values and the same fault however the bytes are split. The first byte
// of the input seeds the split.

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "base/rng.h"
#include "net/redis_reply.h"

namespace {

using sluice::net::RedisReply;
using sluice::net::RedisReplyParser;

void append(std::string& out, const RedisReply& reply) {
  out += static_cast<char>('a' + static_cast<int>(reply.kind));
  out += std::to_string(reply.integer) + reply.text;
  for (const RedisReply& item : reply.items) append(out, item);
  out += ';';
}

std::string parse(std::string_view bytes, sluice::Rng* split) {
  RedisReplyParser parser;
  std::string out;
  while (!bytes.empty()) {
    const size_t piece = split != nullptr ? 1 + split->below(9) : bytes.size();
    const size_t taken = parser.feed(bytes.substr(0, piece));
    bytes.remove_prefix(taken);
    if (parser.state() == RedisReplyParser::State::kFault) return out + "fault";
    if (parser.state() == RedisReplyParser::State::kDone) {
      append(out, parser.take());
    } else if (taken == 0) {
      std::abort();
    }
  }
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  sluice::Rng split(data[0]);
  if (parse(bytes, nullptr) != parse(bytes, &split)) std::abort();
  return 0;
}
