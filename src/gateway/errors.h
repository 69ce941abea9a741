// How answers and failures of upstreams are told apart.
#pragma once

#include <optional>
#include <string_view>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/replica.h"
#include "net/http.h"
#include "plan/plan.h"

namespace sluice::gateway {

// Nothing for an answer that is passed on as it is.
std::optional<plan::ErrorClass> error_of_status(int status, std::string_view body);
plan::ErrorClass error_of_failure(const Status& failure);

// What a failure says of the replica.
UseResult use_result(plan::ErrorClass error);

// Seconds of a Retry-After field, at most an hour; nothing for dates and nonsense.
std::optional<Duration> retry_after(const net::Headers& headers);

}  // namespace sluice::gateway
