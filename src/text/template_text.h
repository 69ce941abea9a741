// Text with provenance: the strings of the chat-template language.
//
// Every byte of a string is either trusted (it was written in the template, or is a value that the
// model brings, such as bos_token, or a message's role of the well-known ones, of which templates
// make markers) or not (it came from the caller). Runs record which. The rule,
// kept by every operation of the language:
//   - an operation that copies characters (slices, trim, split, join, replace, case, reverse,
//     padding, +, ~, %s, macros, set blocks) copies the provenance of each character;
//   - characters that an operation adds by itself (padding, "True", the digits of a count) are
//     trusted, the digits of a number that the caller gave are not;
//   - an operation that rewrites a whole value (tojson, the printed form of a list or dict,
//     urlencode, strftime_now) yields trusted text only if every part of its input is trusted.
//
// Characters are Unicode code points, as in Python; what is ill-formed is read as utf8.h says.
// Thread: a value belongs to one render, except literals, which are shared and immutable.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace sluice::text::jinja {

struct Run {
  uint32_t end;  // one past the last byte
  bool trusted;
};

// Invariant: `runs` cover `bytes` exactly, in order, and neighbours differ.
struct Text {
  std::string bytes;
  std::vector<Run> runs;

  static Text of(std::string_view bytes, bool trusted);
  bool trusted() const;  // all of it; true when empty
  size_t heap_bytes() const { return bytes.capacity() + runs.capacity() * sizeof(Run); }
};

// Appends pieces up to the limits of one string (limits::kMaxTemplateOutput bytes,
// limits::kMaxTemplateSegments runs). Past them it drops what is appended and says so.
class TextBuilder {
 public:
  void append(std::string_view bytes, bool trusted);
  void append(const Text& text) { append(text, 0, text.bytes.size()); }
  void append(const Text& text, size_t begin, size_t end);  // bytes [begin, end)
  void repeat(const Text& text, size_t count);
  void fill(char c, size_t count, bool trusted);

  size_t size() const { return text_.bytes.size(); }
  bool overflowed() const { return overflowed_; }
  const Text& text() const { return text_; }
  Text take() { return std::move(text_); }

 private:
  Text text_;
  bool overflowed_ = false;
};

// Walks code points together with their provenance.
class CharReader {
 public:
  explicit CharReader(const Text& text, size_t begin = 0) : text_(text), end_(begin) {}
  bool next();
  char32_t code() const { return code_; }
  size_t begin() const { return begin_; }
  size_t end() const { return end_; }
  bool trusted();

 private:
  const Text& text_;
  size_t begin_ = 0;
  size_t end_ = 0;
  size_t run_ = 0;
  char32_t code_ = 0;
};

// The code point that starts at bytes[at]; `length` receives its size.
char32_t decode(std::string_view bytes, size_t at, size_t& length);

size_t count_chars(std::string_view bytes);
// Byte offset of the `index`-th character, at most bytes.size().
size_t char_offset(std::string_view bytes, size_t index);
// Byte offset of every character, and of the end.
std::vector<uint32_t> char_offsets(std::string_view bytes);

// Position of `needle` at or after `from`, or npos. Linear time.
size_t find_bytes(std::string_view haystack, std::string_view needle, size_t from = 0);

bool is_space(char32_t c);     // str.isspace()
bool is_word(char32_t c);      // \w of a Unicode regular expression
bool is_alpha(char32_t c);     // str.isalpha()
bool is_decimal(char32_t c);   // str.isdigit(), decimal digits only
bool is_line_end(char32_t c);  // where str.splitlines() splits

// Bytes [begin, end) of `text` less leading and trailing characters: those of `chars`, or spaces
// where `chars` is null.
enum class Side { kLeft, kRight, kBoth };
struct Range {
  size_t begin;
  size_t end;
};
Range strip(std::string_view bytes, Side side, const std::string* chars);

enum class Case { kUpper, kLower, kCapitalize, kTitle };
// Full Unicode mapping ("ß" becomes "SS"). kTitle is str.title(): a letter after a non-letter.
void change_case(const Text& text, Case to, TextBuilder& out);
std::string lower(std::string_view bytes);  // for comparisons that ignore case
bool is_upper_text(std::string_view bytes);
bool is_lower_text(std::string_view bytes);

}  // namespace sluice::text::jinja
