// Appending JSON to a string without building a value first: the hot path of streams.
#pragma once

#include <string>
#include <string_view>

namespace sluice::api {

// `text` as a JSON string with quotes. It must be valid UTF-8.
void append_json_string(std::string& out, std::string_view text);

bool is_utf8(std::string_view bytes);

// Bytes of a token as text: parts that are no valid UTF-8 become U+FFFD.
std::string lossy_utf8(std::string_view bytes);

}  // namespace sluice::api
