// The model that a request's path names, for whoever routes before the routes are matched.
#pragma once

#include <string>
#include <string_view>

namespace sluice::endpoint {

// Of /v1/models/NAME:predict (and :explain), /v2/models/NAME… and /v2/repository/models/NAME…,
// decoded; empty for every other path, whose body names the model. `path` as in HttpRequest.
// Callable from any thread.
std::string model_of_path(std::string_view path);

}  // namespace sluice::endpoint
