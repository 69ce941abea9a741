#include "cli/http_metrics.h"

#include <utility>

namespace sluice::cli {

void report_http(telemetry::Metrics& metrics, std::function<net::ServerStats()> stats) {
  using telemetry::View;
  auto& open = metrics.gauge(View::kNative, "sluice_http_connections", "Open connections.");
  auto& in_flight =
      metrics.gauge(View::kNative, "sluice_http_requests_in_flight", "Requests being answered.");
  metrics.before_scrape([&metrics, &open, &in_flight, stats = std::move(stats)] {
    const net::ServerStats now = stats();
    open.Set(static_cast<double>(now.connections_open));
    in_flight.Set(static_cast<double>(now.requests_in_flight));
    for (const auto& [reason, count] : now.rejected) {
      auto& counter = metrics.counter(View::kNative, "sluice_http_rejected_total",
                                      "Requests that broke the protocol or a limit, by reason.",
                                      {{"reason", reason}});
      counter.Increment(static_cast<double>(count) - counter.Value());
    }
  });
}

}  // namespace sluice::cli
