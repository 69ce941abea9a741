// completion:: answers → bodies of the Open Inference Protocol v2 over REST.
#pragma once

#include <string>
#include <string_view>

namespace sluice::api {

// {"error":"…"}: KServe v1 has the same.
std::string oip_error_body(std::string_view message);

}  // namespace sluice::api
