// GatewayMetrics: what the gateway counts. Names and meanings: docs/metrics.md. Label values come
// from the plan and from fixed words, never from a request.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

#include "gateway/record.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

// Any thread; lives as long as the Metrics. Each thread remembers what it has counted before, so
// that no request waits for another's count.
class GatewayMetrics {
 public:
  explicit GatewayMetrics(telemetry::Metrics& metrics);

  void finished(const RequestRecord& record, Duration took);
  // An attempt at an upstream ended: "ok", or an error class.
  void attempt(const std::string& upstream, std::string_view result);
  void retry(const std::string& route, std::string_view reason);
  void fallback(const std::string& route, const std::string& upstream);
  // "won", "lost", "no_budget".
  void hedge(const std::string& route, std::string_view outcome);
  // "ok", "error", "dropped" of the copy; and how it compares.
  void mirror(const std::string& route, std::string_view outcome);
  void mirror_compared(const std::string& route, std::string_view outcome);
  // So many predictions were joined into one request.
  void joined(const std::string& route, size_t requests);
  // "sent", "failed", "dropped" of an event of the payload log.
  void payload_event(const std::string& route, std::string_view result);
  // A tenant's request was refused by one of its limits.
  void limited(const std::string& tenant, std::string_view limit);
  // "hit", "miss", or "bypass": the request is none whose answer could be kept.
  void cache(const std::string& route, std::string_view result);
  void reload(bool good);

  telemetry::Metrics& metrics() { return metrics_; }

 private:
  struct Seen;
  struct RouteTimes {
    telemetry::Histogram* duration;
    telemetry::Histogram* first_byte;
  };
  struct Label {
    const char* name;
    std::string_view value;
  };

  telemetry::Counter& counter(const char* name, const char* help,
                              std::initializer_list<Label> labels);
  const RouteTimes& times(const std::string& route);
  Seen& seen() const;

  telemetry::Metrics& metrics_;
  const uint64_t id_;
};

}  // namespace sluice::gateway
