// Errors in the shape that the users of a path expect: OpenAI's, Anthropic's (/v1/messages), or the
// {"error":"…"} of KServe (/v1/models/…:predict) and the Open Inference Protocol (/v2). Pure
// functions.
#pragma once

#include <string_view>

#include "base/status.h"
#include "net/http.h"

namespace sluice::endpoint {

// `path` as in HttpRequest; empty where none was understood. With Retry-After where trying again
// helps, and a request-id for Anthropic's.
net::HttpResponse shaped_error(std::string_view path, const Status& status);

// An error that has only an HTTP status.
net::HttpResponse shaped_error_page(std::string_view path, int status, std::string_view message);

}  // namespace sluice::endpoint
