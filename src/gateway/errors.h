// How answers and failures of upstreams are told apart.
#pragma once

#include <optional>
#include <string>
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

// What an error answer says of the replica, and what a request that failed does.
UseResult use_result(plan::ErrorClass error);
UseResult use_result(const Status& failure);

// What an event stream ends with that cannot go on, in the dialect of the path's users.
std::string error_event(std::string_view path, const Status& status);

// Seconds of a Retry-After field, at most an hour; nothing for dates and nonsense.
std::optional<Duration> retry_after(const net::Headers& headers);

}  // namespace sluice::gateway
