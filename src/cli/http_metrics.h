// The HTTP server's own numbers as metrics: connections, requests under way, refusals by reason.
#pragma once

#include <functional>

#include "net/server.h"
#include "telemetry/metrics.h"

namespace sluice::cli {

// `stats` is asked at each scrape; what it asks outlives the last one.
void report_http(telemetry::Metrics& metrics, std::function<net::ServerStats()> stats);

}  // namespace sluice::cli
