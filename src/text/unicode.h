// Character classes, case and normalization forms (utf8proc). Text given to these functions is
// valid UTF-8. Pure functions, callable from any thread.
#pragma once

#include <string>
#include <string_view>

#include "text/tokenizer_spec.h"

namespace sluice::text {

bool is_space(char32_t code);        // property White_Space
bool is_number(char32_t code);       // categories N*
bool is_punctuation(char32_t code);  // categories P*, and ASCII's other marks ($ + < = > ^ ` | ~)
bool is_mark(char32_t code);         // categories M*
bool is_accent(char32_t code);       // category Mn
bool is_other(char32_t code);        // control, format and private-use characters
bool is_word(char32_t code);         // what \w means: letters, marks, Nd, Nl, Pc
bool is_chinese(char32_t code);      // the ideograph blocks that BERT puts spaces around

std::string to_form(std::string_view text, normalize::Form form);
// Bytes of the grapheme cluster at the start of non-empty `text` (UAX 29, extended).
size_t grapheme_length(std::string_view text);

// Lowercase mapping character by character (no context: a final sigma stays σ).
std::string to_lower(std::string_view text);

}  // namespace sluice::text
