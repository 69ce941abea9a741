// The API's answers as HTTP responses. Pure functions.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "control/api_error.h"
#include "control/api_request.h"
#include "control/object_store.h"
#include "net/http.h"

namespace sluice::control {

net::HttpResponse json_answer(int status, std::string body,
                              const std::vector<std::string>& warnings = {});
net::HttpResponse error_answer(const ApiError& error);
// One object in the form asked for.
net::HttpResponse object_answer(int status, const StoredObject& object, Form form, double now,
                                const std::vector<std::string>& warnings = {});

// {"type":"ADDED","object":…} and a line end.
std::string event_line(std::string_view type, std::string_view object);

}  // namespace sluice::control
