// One formatted field, as both "%5.2f" and "{:5.2f}" describe it.
#pragma once

#include <cstddef>
#include <string_view>

#include "base/status.h"
#include "text/template_value.h"

namespace sluice::text::jinja {

struct FormatSpec {
  char32_t fill = ' ';
  char align = 0;  // '<', '>', '^', '=' (between sign and digits), 0: as the value's kind has it
  char sign = '-';
  bool alternate = false;
  char group = 0;  // ',' or '_' between thousands
  size_t width = 0;
  int precision = -1;
  char type = 0;
};

// `text_align` is how strings stand where the field does not say.
Outcome format_field(const Value& value, const FormatSpec& spec, char text_align, TextBuilder& out);

// Reads digits at `at`; fails past what a field may ask for.
Result<size_t> read_width(std::string_view text, size_t& at);

}  // namespace sluice::text::jinja
