#include "text/template_text.h"

#include <string.h>  // memmem

#include <algorithm>

#include "base/limits.h"
#include "text/utf8.h"

namespace sluice::text::jinja {

Text Text::of(std::string_view bytes, bool trusted) {
  Text text;
  text.bytes.assign(bytes);
  if (!bytes.empty()) text.runs.push_back({static_cast<uint32_t>(bytes.size()), trusted});
  return text;
}

bool Text::trusted() const {
  return std::ranges::all_of(runs, [](const Run& run) { return run.trusted; });
}

void TextBuilder::append(std::string_view bytes, bool trusted) {
  if (bytes.empty() || overflowed_) return;
  auto& runs = text_.runs;
  const bool joins = !runs.empty() && runs.back().trusted == trusted;
  if (bytes.size() > limits::kMaxTemplateOutput - size() ||
      (!joins && runs.size() >= limits::kMaxTemplateSegments)) {
    overflowed_ = true;
    return;
  }
  text_.bytes.append(bytes);
  const auto end = static_cast<uint32_t>(size());
  if (joins) {
    runs.back().end = end;
  } else {
    runs.push_back({end, trusted});
  }
}

void TextBuilder::append(const Text& text, size_t begin, size_t end) {
  auto run = std::ranges::upper_bound(text.runs, begin, {}, &Run::end);
  while (begin < end && run != text.runs.end() && !overflowed_) {
    const size_t stop = std::min<size_t>(end, run->end);
    append(std::string_view(text.bytes).substr(begin, stop - begin), run->trusted);
    begin = stop;
    ++run;
  }
}

void TextBuilder::repeat(const Text& text, size_t count) {
  if (text.bytes.empty()) return;
  if (count > limits::kMaxTemplateOutput / text.bytes.size()) {
    overflowed_ = true;
    return;
  }
  for (size_t i = 0; i < count && !overflowed_; ++i) append(text);
}

void TextBuilder::fill(char c, size_t count, bool trusted) {
  if (count > limits::kMaxTemplateOutput) {
    overflowed_ = true;
    return;
  }
  append(std::string(count, c), trusted);
}

bool CharReader::next() {
  if (end_ >= text_.bytes.size()) return false;
  begin_ = end_;
  size_t length = 0;
  code_ = decode(text_.bytes, begin_, length);
  end_ += length;
  return true;
}

bool CharReader::trusted() {
  if (run_ == 0 && begin_ > 0) {
    run_ = static_cast<size_t>(std::ranges::upper_bound(text_.runs, begin_, {}, &Run::end) -
                               text_.runs.begin());
  }
  while (text_.runs[run_].end <= begin_) ++run_;
  return text_.runs[run_].trusted;
}

char32_t decode(std::string_view bytes, size_t at, size_t& length) {
  const auto lead = static_cast<uint8_t>(bytes[at]);
  length = 1;
  if (lead < 0x80) return lead;
  const DecodedChar decoded = decode_char(bytes.substr(at));
  length = decoded.length;
  return decoded.code;
}

size_t count_chars(std::string_view bytes) {
  size_t count = 0;
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    decode(bytes, at, length);
    ++count;
  }
  return count;
}

size_t char_offset(std::string_view bytes, size_t index) {
  size_t at = 0;
  for (size_t length = 0; index > 0 && at < bytes.size(); --index, at += length) {
    decode(bytes, at, length);
  }
  return at;
}

std::vector<uint32_t> char_offsets(std::string_view bytes) {
  std::vector<uint32_t> offsets;
  offsets.reserve(bytes.size() + 1);
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    offsets.push_back(static_cast<uint32_t>(at));
    decode(bytes, at, length);
  }
  offsets.push_back(static_cast<uint32_t>(bytes.size()));
  return offsets;
}

size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from) {
  if (from > haystack.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  const void* hit =
      memmem(haystack.data() + from, haystack.size() - from, needle.data(), needle.size());
  if (hit == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(hit) - haystack.data());
}

Range strip(std::string_view bytes, Side side, const std::string* chars) {
  std::u32string set;
  if (chars != nullptr) {
    for (size_t at = 0, length = 0; at < chars->size(); at += length) {
      set.push_back(decode(*chars, at, length));
    }
    std::ranges::sort(set);
  }
  const auto drops = [&](char32_t c) {
    return chars == nullptr ? is_space(c) : std::ranges::binary_search(set, c);
  };
  size_t begin = 0;
  size_t end = bytes.size();
  size_t length = 0;
  if (side != Side::kRight) {
    while (begin < end && drops(decode(bytes, begin, length))) begin += length;
  }
  while (side != Side::kLeft && end > begin) {
    size_t last = end - 1;
    while (last > begin && end - last < 4 && (bytes[last] & 0xC0) == 0x80) --last;
    char32_t code = decode(bytes, last, length);
    if (last + length != end) {
      last = end - 1;
      code = decode(bytes, last, length);
    }
    if (!drops(code)) break;
    end = last;
  }
  return {begin, end};
}

}  // namespace sluice::text::jinja
