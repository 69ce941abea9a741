#include "net/redis_reply.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <iterator>
#include <optional>
#include <utility>

namespace sluice::net {
namespace {

std::optional<int64_t> read_integer(std::string_view text) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || at != end) return std::nullopt;
  return value;
}

}  // namespace

int64_t RedisReply::integer_at(size_t index, int64_t otherwise) const {
  if (index >= items.size() || items[index].kind != Kind::kInteger) return otherwise;
  return items[index].integer;
}

std::string redis_command(const std::vector<std::string>& parts) {
  std::string out = fmt::format("*{}\r\n", parts.size());
  for (const std::string& part : parts) {
    fmt::format_to(std::back_inserter(out), "${}\r\n", part.size());
    out.append(part).append("\r\n");
  }
  return out;
}

void RedisReplyParser::fail(std::string why) {
  state_ = State::kFault;
  fault_ = std::move(why);
}

bool RedisReplyParser::count_bytes(size_t more) {
  if (more > kMaxBytes - bytes_) {
    fail(fmt::format("a reply of more than {} bytes", kMaxBytes));
    return false;
  }
  bytes_ += more;
  return true;
}

size_t RedisReplyParser::feed(std::string_view bytes) {
  size_t taken = 0;
  while (state_ == State::kMore && taken < bytes.size()) {
    const std::string_view rest = bytes.substr(taken);
    if (in_text_) {
      const size_t count = std::min(rest.size(), text_left_);
      text_.text.append(rest.substr(0, count));
      taken += count;
      text_left_ -= count;
      if (text_left_ > 0) continue;
      in_text_ = false;
      if (!text_.text.ends_with("\r\n")) {
        fail("a text that does not end where its length says");
        break;
      }
      text_.text.resize(text_.text.size() - 2);
      put(std::exchange(text_, {}));
      continue;
    }
    const size_t end = rest.find('\n');
    const size_t count = end == std::string_view::npos ? rest.size() : end + 1;
    if (!count_bytes(count)) break;
    line_.append(rest.substr(0, count));
    taken += count;
    if (end != std::string_view::npos) end_line();
  }
  return taken;
}

void RedisReplyParser::end_line() {
  const std::string line = std::exchange(line_, {});
  if (line.size() < 3 || line[line.size() - 2] != '\r') {
    return fail("a line without a kind or without CR LF at its end");
  }
  const char kind = line[0];
  const std::string_view rest(line.data() + 1, line.size() - 3);
  if (kind == '+' || kind == '-') {
    return put({.kind = kind == '+' ? RedisReply::Kind::kStatus : RedisReply::Kind::kError,
                .text = std::string(rest)});
  }
  const auto number = read_integer(rest);
  if (!number || !std::string_view(":$*").contains(kind)) {
    return fail("a line that is no reply of Redis");
  }
  if (kind == ':') return put({.kind = RedisReply::Kind::kInteger, .integer = *number});
  if (*number == -1) return put({});
  if (*number < 0) return fail("a negative length");
  return kind == '$' ? begin_text(*number) : begin_array(*number);
}

void RedisReplyParser::begin_text(int64_t length) {
  const auto size = static_cast<uint64_t>(length);
  if (!count_bytes(std::min<uint64_t>(size, kMaxBytes + 1))) return;
  in_text_ = true;
  text_left_ = size + 2;
  text_ = {.kind = RedisReply::Kind::kText};
}

void RedisReplyParser::begin_array(int64_t length) {
  if (length > static_cast<int64_t>(kMaxValues) || open_.size() == kMaxDepth) {
    return fail(
        fmt::format("an array of more than {} values, or deeper than {}", kMaxValues, kMaxDepth));
  }
  RedisReply array{.kind = RedisReply::Kind::kArray};
  if (length == 0) return put(std::move(array));
  open_.push_back({std::move(array), static_cast<size_t>(length)});
}

void RedisReplyParser::put(RedisReply value) {
  while (true) {
    if (++values_ > kMaxValues) return fail(fmt::format("more than {} values", kMaxValues));
    if (open_.empty()) break;
    open_.back().array.items.push_back(std::move(value));
    if (--open_.back().left > 0) return;
    value = std::move(open_.back().array);
    open_.pop_back();
  }
  done_ = std::move(value);
  state_ = State::kDone;
}

RedisReply RedisReplyParser::take() {
  state_ = State::kMore;
  bytes_ = values_ = 0;
  return std::exchange(done_, {});
}

}  // namespace sluice::net
