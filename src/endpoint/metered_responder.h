// MeteredResponder: counts and times one answer, by route, method and status.
#pragma once

#include <memory>
#include <string>

#include "base/clock.h"
#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::endpoint {

// `route` and `method` are label values from closed sets. The result forwards to `inner`; the
// answer is counted when it is complete, or with status 499 when the client left before.
std::shared_ptr<net::Responder> metered(std::shared_ptr<net::Responder> inner,
                                        telemetry::Metrics& metrics, const Clock& clock,
                                        std::string route, std::string method);

}  // namespace sluice::endpoint
