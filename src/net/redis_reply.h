// The wire format of Redis, RESP2: commands as bytes, and replies read from foreign bytes.
//
// Source: the Redis serialization protocol, version 2 (simple strings, errors, integers, bulk
// strings, arrays; "$-1" and "*-1" are null). No sockets here; see net/redis_client.h.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::net {

struct RedisReply {
  enum class Kind { kNull, kStatus, kError, kInteger, kText, kArray };
  Kind kind = Kind::kNull;
  int64_t integer = 0;
  std::string text = {};               // of a status, an error or a text
  std::vector<RedisReply> items = {};  // of an array

  // The integer at `index` of an array; `otherwise` where there is none.
  int64_t integer_at(size_t index, int64_t otherwise = 0) const;
};

// A command as an array of texts.
std::string redis_command(const std::vector<std::string>& parts);

// Bytes → replies, however the bytes are split. One thread at a time.
class RedisReplyParser {
 public:
  enum class State { kMore, kDone, kFault };

  // A reply may have so many bytes of text, so many values, and arrays in arrays so deep.
  static constexpr size_t kMaxBytes = 1u << 20;
  static constexpr size_t kMaxValues = 4096;
  static constexpr size_t kMaxDepth = 8;

  // How many bytes were taken: all, unless a reply is done or at fault.
  size_t feed(std::string_view bytes);
  State state() const { return state_; }
  // Of kDone; the next one may be fed then.
  RedisReply take();
  const std::string& fault() const { return fault_; }

 private:
  struct Open {
    RedisReply array;
    size_t left;
  };

  void end_line();
  void begin_text(int64_t length);
  void begin_array(int64_t length);
  void put(RedisReply value);
  bool count_bytes(size_t more);
  void fail(std::string why);

  State state_ = State::kMore;
  std::string line_;
  bool in_text_ = false;
  size_t text_left_ = 0;  // with the line end behind it
  RedisReply text_;
  std::vector<Open> open_;
  RedisReply done_;
  size_t bytes_ = 0;
  size_t values_ = 0;
  std::string fault_;
};

}  // namespace sluice::net
