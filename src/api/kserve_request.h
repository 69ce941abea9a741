// KServe's v1 prediction protocol: bodies of POST /v1/models/{model}:predict, both ways.
//
//   {"instances": ["text", {"prompt": "text"}, …], "parameters": {…}}   →   {"predictions":
//   ["text", …]}
// "inputs" may stand for "instances". `parameters` has the fields of /v1/completions that say how
// to sample, for all instances together.
#pragma once

#include <string>

#include "api/fields.h"
#include "base/status.h"
#include "completion/collector.h"
#include "completion/request.h"

namespace sluice::api {

// A completion of every instance, one choice each; max_tokens is 20 where none is given. The model
// is the path's.
Result<completion::Request> parse_predict_request(const json::object& body);

// In the order of the instances.
std::string predictions_body(const completion::Answer& answer);

}  // namespace sluice::api
