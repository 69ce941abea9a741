// Character classes and case of template_text.h, over utf8proc. Full case mapping: Unicode's
// SpecialCasing table, of which utf8proc holds only the part that maps one character to one.

#include <utf8proc.h>

#include <algorithm>
#include <array>

#include "text/template_text.h"
#include "text/utf8.h"

namespace sluice::text::jinja {
namespace {

struct Expansion {
  char32_t code;
  std::u32string_view upper;
};

// Characters whose upper-case form is longer than one character, less U+1F80–1FAF (see upper_of).
constexpr std::array kExpansions = {
    Expansion{0xDF, U"SS"},
    Expansion{0x149, U"\u02BCN"},
    Expansion{0x1F0, U"J\u030C"},
    Expansion{0x390, U"\u0399\u0308\u0301"},
    Expansion{0x3B0, U"\u03A5\u0308\u0301"},
    Expansion{0x587, U"\u0535\u0552"},
    Expansion{0x1E96, U"H\u0331"},
    Expansion{0x1E97, U"T\u0308"},
    Expansion{0x1E98, U"W\u030A"},
    Expansion{0x1E99, U"Y\u030A"},
    Expansion{0x1E9A, U"A\u02BE"},
    Expansion{0x1F50, U"\u03A5\u0313"},
    Expansion{0x1F52, U"\u03A5\u0313\u0300"},
    Expansion{0x1F54, U"\u03A5\u0313\u0301"},
    Expansion{0x1F56, U"\u03A5\u0313\u0342"},
    Expansion{0x1FB2, U"\u1FBA\u0399"},
    Expansion{0x1FB3, U"\u0391\u0399"},
    Expansion{0x1FB4, U"\u0386\u0399"},
    Expansion{0x1FB6, U"\u0391\u0342"},
    Expansion{0x1FB7, U"\u0391\u0342\u0399"},
    Expansion{0x1FBC, U"\u0391\u0399"},
    Expansion{0x1FC2, U"\u1FCA\u0399"},
    Expansion{0x1FC3, U"\u0397\u0399"},
    Expansion{0x1FC4, U"\u0389\u0399"},
    Expansion{0x1FC6, U"\u0397\u0342"},
    Expansion{0x1FC7, U"\u0397\u0342\u0399"},
    Expansion{0x1FCC, U"\u0397\u0399"},
    Expansion{0x1FD2, U"\u0399\u0308\u0300"},
    Expansion{0x1FD3, U"\u0399\u0308\u0301"},
    Expansion{0x1FD6, U"\u0399\u0342"},
    Expansion{0x1FD7, U"\u0399\u0308\u0342"},
    Expansion{0x1FE2, U"\u03A5\u0308\u0300"},
    Expansion{0x1FE3, U"\u03A5\u0308\u0301"},
    Expansion{0x1FE4, U"\u03A1\u0313"},
    Expansion{0x1FE6, U"\u03A5\u0342"},
    Expansion{0x1FE7, U"\u03A5\u0308\u0342"},
    Expansion{0x1FF2, U"\u1FFA\u0399"},
    Expansion{0x1FF3, U"\u03A9\u0399"},
    Expansion{0x1FF4, U"\u038F\u0399"},
    Expansion{0x1FF6, U"\u03A9\u0342"},
    Expansion{0x1FF7, U"\u03A9\u0342\u0399"},
    Expansion{0x1FFC, U"\u03A9\u0399"},
    Expansion{0xFB00, U"FF"},
    Expansion{0xFB01, U"FI"},
    Expansion{0xFB02, U"FL"},
    Expansion{0xFB03, U"FFI"},
    Expansion{0xFB04, U"FFL"},
    Expansion{0xFB05, U"ST"},
    Expansion{0xFB06, U"ST"},
    Expansion{0xFB13, U"\u0544\u0546"},
    Expansion{0xFB14, U"\u0544\u0535"},
    Expansion{0xFB15, U"\u0544\u053B"},
    Expansion{0xFB16, U"\u054E\u0546"},
    Expansion{0xFB17, U"\u0544\u053D"},
};

constexpr char32_t kCapitalSigma = 0x3A3;
constexpr char32_t kFinalSigma = 0x3C2;

const Expansion* expansion_of(char32_t c) {
  const auto* it = std::ranges::lower_bound(kExpansions, c, {}, &Expansion::code);
  return it != kExpansions.end() && it->code == c ? it : nullptr;
}

utf8proc_category_t category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

char32_t simple_upper(char32_t c) {
  return static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c)));
}
char32_t simple_lower(char32_t c) {
  return static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c)));
}
char32_t simple_title(char32_t c) {
  return static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c)));
}

bool is_cased(char32_t c) {
  const auto kind = category(c);
  return kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
         kind == UTF8PROC_CATEGORY_LT || simple_upper(c) != c || simple_lower(c) != c;
}

// Characters that do not end a word where the final sigma is looked for.
bool is_case_ignorable(char32_t c) {
  switch (category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2018 || c == 0x2019 ||
             c == 0x2024 || c == 0x2027;
  }
}

void upper_of(char32_t c, std::string& out) {
  // Greek letters with an iota below: the letter without it, then the iota.
  if (c >= 0x1F80 && c <= 0x1FAF) {
    const char32_t base = c < 0x1F90 ? 0x1F08 : c < 0x1FA0 ? 0x1F28 : 0x1F68;
    append_utf8(out, base + (c & 7));
    append_utf8(out, 0x399);
  } else if (const Expansion* longer = expansion_of(c)) {
    for (const char32_t part : longer->upper) append_utf8(out, part);
  } else {
    append_utf8(out, simple_upper(c));
  }
}

void title_of(char32_t c, std::string& out) {
  const Expansion* longer = expansion_of(c);
  if (longer == nullptr || simple_title(c) != c) {
    append_utf8(out, simple_title(c));
  } else {
    for (size_t i = 0; i < longer->upper.size(); ++i) {
      const bool keep = i == 0 || c == 0x149;
      append_utf8(out, keep ? longer->upper[i] : simple_lower(longer->upper[i]));
    }
  }
}

// Whether the sigma at [begin, end) ends a word: letters before it, none after it.
bool is_final_sigma(std::string_view bytes, size_t begin, size_t end, bool letters_before) {
  if (!letters_before) return false;
  size_t length = 0;
  for (size_t at = end; at < bytes.size(); at += length) {
    const char32_t c = decode(bytes, at, length);
    if (!is_case_ignorable(c)) return !is_cased(c);
  }
  return begin < end;
}

void lower_of(std::string_view bytes, size_t begin, size_t end, char32_t c, bool letters_before,
              std::string& out) {
  if (c == 0x130) {
    append_utf8(out, 'i');
    append_utf8(out, 0x307);
  } else if (c == kCapitalSigma && is_final_sigma(bytes, begin, end, letters_before)) {
    append_utf8(out, kFinalSigma);
  } else {
    append_utf8(out, simple_lower(c));
  }
}

}  // namespace

bool is_space(char32_t c) {
  if (c < 0x80) return c == ' ' || (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x1F);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool is_alpha(char32_t c) {
  const auto kind = category(c);
  return kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_LO;
}

bool is_decimal(char32_t c) { return category(c) == UTF8PROC_CATEGORY_ND; }

bool is_word(char32_t c) {
  const auto kind = category(c);
  return c == '_' || is_alpha(c) || kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_line_end(char32_t c) {
  return (c >= 10 && c <= 13) || (c >= 0x1C && c <= 0x1E) || c == 0x85 || c == 0x2028 ||
         c == 0x2029;
}

void change_case(const Text& text, Case to, TextBuilder& out) {
  CharReader reader(text);
  bool first = true;
  bool in_word = false;         // the character before is cased: str.title() goes on in lower case
  bool letters_before = false;  // a cased letter before, ignorable characters between
  std::string mapped;
  while (reader.next()) {
    const char32_t c = reader.code();
    mapped.clear();
    if (to == Case::kUpper) {
      upper_of(c, mapped);
    } else if ((to == Case::kCapitalize && first) || (to == Case::kTitle && !in_word)) {
      title_of(c, mapped);
    } else {
      lower_of(text.bytes, reader.begin(), reader.end(), c, letters_before, mapped);
    }
    out.append(mapped, reader.trusted());
    first = false;
    in_word = is_cased(c);
    if (!is_case_ignorable(c)) letters_before = in_word;
  }
}

std::string lower(std::string_view bytes) {
  TextBuilder out;
  change_case(Text::of(bytes, true), Case::kLower, out);
  return out.take().bytes;
}

namespace {

bool all_cased_are(std::string_view bytes, utf8proc_category_t wanted) {
  bool found = false;
  for (size_t at = 0, length = 0; at < bytes.size(); at += length) {
    const auto kind = category(decode(bytes, at, length));
    if (kind == wanted) {
      found = true;
    } else if (kind == UTF8PROC_CATEGORY_LU || kind == UTF8PROC_CATEGORY_LL ||
               kind == UTF8PROC_CATEGORY_LT) {
      return false;
    }
  }
  return found;
}

}  // namespace

bool is_upper_text(std::string_view bytes) { return all_cased_are(bytes, UTF8PROC_CATEGORY_LU); }
bool is_lower_text(std::string_view bytes) { return all_cased_are(bytes, UTF8PROC_CATEGORY_LL); }

}  // namespace sluice::text::jinja
