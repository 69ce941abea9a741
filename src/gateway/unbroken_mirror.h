// Copies of requests to Sluice replicas: to another upstream, typed as the requests themselves;
// nobody gets their answers, but status and text are compared with those that clients got.
#pragma once

#include <memory>

#include "base/clock.h"
#include "completion/backend.h"
#include "gateway/gateway_metrics.h"
#include "gateway/snapshot.h"
#include "gateway/unbroken_backend.h"

namespace sluice::gateway {

// Sends a copy if the route takes one of this request and has room. Returns the sink through which
// the answer itself is to go. A request without a seed is given one, so that two equal models say
// the same. Any thread; begins before the request does.
std::shared_ptr<completion::ResponseSink> mirror_request(
    UnbrokenBackend& backend, GatewayMetrics& metrics, const Clock& clock,
    const std::shared_ptr<const Snapshot>& snapshot, Route& route, const UnbrokenRoute& way,
    completion::Request& request, std::shared_ptr<completion::ResponseSink> sink);

}  // namespace sluice::gateway
