#include "api/oip_response.h"

#include "api/json_text.h"

namespace sluice::api {

std::string oip_error_body(std::string_view message) {
  std::string out = R"({"error":)";
  append_json_string(out, lossy_utf8(message));
  out += '}';
  return out;
}

}  // namespace sluice::api
