#include "rpc/grpc_status.h"

#include <string>

namespace sluice::rpc {
namespace {

grpc::StatusCode code_of(Code code) {
  switch (code) {
    case Code::kCancelled:
      return grpc::StatusCode::CANCELLED;
    case Code::kInvalidArgument:
    case Code::kTooLarge:
      return grpc::StatusCode::INVALID_ARGUMENT;
    case Code::kDeadlineExceeded:
      return grpc::StatusCode::DEADLINE_EXCEEDED;
    case Code::kNotFound:
      return grpc::StatusCode::NOT_FOUND;
    case Code::kAlreadyExists:
      return grpc::StatusCode::ALREADY_EXISTS;
    case Code::kPermissionDenied:
      return grpc::StatusCode::PERMISSION_DENIED;
    case Code::kUnauthenticated:
      return grpc::StatusCode::UNAUTHENTICATED;
    case Code::kResourceExhausted:
      return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case Code::kFailedPrecondition:
      return grpc::StatusCode::FAILED_PRECONDITION;
    case Code::kUnimplemented:
      return grpc::StatusCode::UNIMPLEMENTED;
    case Code::kUnavailable:
      return grpc::StatusCode::UNAVAILABLE;
    case Code::kDataLoss:
      return grpc::StatusCode::DATA_LOSS;
    case Code::kInternal:
      break;
  }
  return grpc::StatusCode::INTERNAL;
}

}  // namespace

grpc::Status to_grpc(const Status& status) { return {code_of(status.code()), status.message()}; }

CallHeaders headers_of(const grpc::CallbackServerContext& context) {
  CallHeaders headers;
  const grpc::string_ref authority = context.ExperimentalGetAuthority();
  if (!authority.empty())
    headers.emplace_back("host", std::string(authority.data(), authority.size()));
  for (const auto& [name, value] : context.client_metadata()) {
    if (name.ends_with("-bin")) continue;
    headers.emplace_back(std::string(name.data(), name.size()),
                         std::string(value.data(), value.size()));
  }
  return headers;
}

}  // namespace sluice::rpc
