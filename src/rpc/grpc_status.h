// sluice::Status → grpc::Status, and a caller's metadata as headers. Internal to rpc.
#pragma once

#include <grpcpp/grpcpp.h>

#include "base/status.h"
#include "rpc/server.h"

namespace sluice::rpc {

grpc::Status to_grpc(const Status& status);

// Binary headers ("…-bin") are left out.
CallHeaders headers_of(const grpc::CallbackServerContext& context);

}  // namespace sluice::rpc
