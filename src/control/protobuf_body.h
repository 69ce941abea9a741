// Bodies that newer kubectl sends as protocol buffers (`kubectl create secret` and its likes): the
// core kinds, read into the JSON that they stand for.
//
// Pure functions on foreign bytes. Source: the field numbers of Kubernetes' published .proto files.
// Fuzz target: control_body_fuzz.
#pragma once

#include <string_view>

#include "base/json.h"
#include "control/api_error.h"

namespace sluice::control {

inline constexpr std::string_view kProtobufType = "application/vnd.kubernetes.protobuf";

// 415 for a kind that is not known here, 400 for bytes that are no message.
ApiResult<json::value> parse_protobuf_body(std::string_view bytes);

}  // namespace sluice::control
