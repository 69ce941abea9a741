// JSON: Boost.JSON under one name, and a parser with limits for foreign bytes.
#pragma once

#include <boost/json.hpp>
#include <cstddef>
#include <string_view>

#include "base/status.h"

namespace sluice {

namespace json = boost::json;

struct JsonLimits {
  size_t max_bytes = 4u << 20;
  size_t max_depth = 64;
  size_t max_nodes = 2'000'000;  // values and keys together
};

// Parses one JSON text (RFC 8259, UTF-8). Refused: duplicate keys in an object, trailing bytes,
// invalid UTF-8, NaN and infinities, numbers that no double holds, and whatever passes a limit. The
// message names the byte offset.
Result<json::value> parse_json(std::string_view text, const JsonLimits& limits = {});

// Compact text. Lone surrogates cannot occur: every string inside is valid UTF-8.
std::string to_json(const json::value& value);

// "a string", "an integer", "an object", … for messages that say what was found.
std::string_view json_kind(const json::value& value);

}  // namespace sluice
