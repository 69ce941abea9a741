// Where traces go: from --otlp-traces-endpoint and OpenTelemetry's environment variables.
#pragma once

#include <memory>
#include <string>

#include "base/status.h"
#include "telemetry/metrics.h"
#include "telemetry/tracer.h"

namespace sluice::cli {

// A tracer, its exporter, and the client that sends for it.
class Tracing {
 public:
  virtual ~Tracing() = default;
  virtual const telemetry::Tracer& tracer() const = 0;
};

// Null where no endpoint is named, or tracing is switched off. `endpoint` is the flag's; it goes
// before the environment. `service` is the service.name unless OTEL_SERVICE_NAME says another.
// `metrics` outlives what is returned.
Result<std::unique_ptr<Tracing>> open_tracing(const std::string& endpoint,
                                              const std::string& service,
                                              telemetry::Metrics& metrics);

// "a=1,b=two%20words", as OTEL_EXPORTER_OTLP_HEADERS and OTEL_RESOURCE_ATTRIBUTES have it.
Result<std::vector<std::pair<std::string, std::string>>> parse_pairs(std::string_view text);

}  // namespace sluice::cli
