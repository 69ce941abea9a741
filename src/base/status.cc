#include "base/status.h"

#include <array>

#include "base/check.h"

namespace sluice {
namespace {

struct CodeRow {
  Code code;
  std::string_view name;
  int http;
};

constexpr std::array kCodes = {
    CodeRow{Code::kCancelled, "cancelled", 499},
    CodeRow{Code::kInvalidArgument, "invalid_argument", 400},
    CodeRow{Code::kDeadlineExceeded, "deadline_exceeded", 504},
    CodeRow{Code::kNotFound, "not_found", 404},
    CodeRow{Code::kAlreadyExists, "already_exists", 409},
    CodeRow{Code::kPermissionDenied, "permission_denied", 403},
    CodeRow{Code::kUnauthenticated, "unauthenticated", 401},
    CodeRow{Code::kResourceExhausted, "resource_exhausted", 429},
    CodeRow{Code::kTooLarge, "too_large", 413},
    CodeRow{Code::kFailedPrecondition, "failed_precondition", 400},
    CodeRow{Code::kUnimplemented, "unimplemented", 501},
    CodeRow{Code::kInternal, "internal", 500},
    CodeRow{Code::kUnavailable, "unavailable", 503},
    CodeRow{Code::kDataLoss, "data_loss", 500},
};

const CodeRow& row_of(Code code) {
  for (const CodeRow& row : kCodes) {
    if (row.code == code) return row;
  }
  SLUICE_CHECK(false, "a status code without a row");
}

}  // namespace

std::string_view code_name(Code code) { return row_of(code).name; }

int http_status(Code code) { return row_of(code).http; }

Status Status::at(std::string_view prefix) const {
  return Status(code_, std::string(prefix) + ": " + message_, param_, reason_);
}

}  // namespace sluice
