#include "gateway/gateway_metrics.h"

#include <utility>

namespace sluice::gateway {
namespace {

using telemetry::View;

const telemetry::Buckets& time_buckets() {
  static const telemetry::Buckets kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                              0.5,   1,      2.5,   5,    10,    30,   60,  300};
  return kBuckets;
}

std::string status_label(const RequestRecord& record) {
  if (record.ending == Ending::kClientGone) return "499";
  return record.status >= 100 && record.status <= 599 ? std::to_string(record.status) : "other";
}

}  // namespace

GatewayMetrics::GatewayMetrics(telemetry::Metrics& metrics) : metrics_(metrics) {}

telemetry::Counter& GatewayMetrics::counter(const char* name, const char* help,
                                            telemetry::Labels labels) {
  std::array<std::string, 4> values;
  size_t i = 0;
  for (const auto& [label, value] : labels) values[i++ % values.size()] = value;
  const std::lock_guard lock(mutex_);
  auto& known = known_[{name, values[0], values[1], values[2], values[3]}];
  if (known == nullptr) known = &metrics_.counter(View::kNative, name, help, labels);
  return *known;
}

void GatewayMetrics::finished(const RequestRecord& record, Duration took) {
  counter(
      "sluice_gateway_requests_total",
      "Requests over, by route, model and status (499: the client left).",
      {{"route", record.route}, {"model", record.model_label}, {"status", status_label(record)}})
      .Increment();
  if (record.ending == Ending::kCut) {
    counter("sluice_gateway_cut_answers_total", "Answers that broke after their first byte.",
            {{"route", record.route}})
        .Increment();
  }
  if (record.route.empty()) return;
  RouteTimes times{};
  {
    const std::lock_guard lock(mutex_);
    RouteTimes& known = times_[record.route];
    if (known.duration == nullptr) {
      const telemetry::Labels labels = {{"route", record.route}};
      known.duration =
          &metrics_.histogram(View::kNative, "sluice_gateway_request_duration_seconds",
                              "From a request's arrival to its end.", time_buckets(), labels);
      known.first_byte = &metrics_.histogram(
          View::kNative, "sluice_gateway_first_byte_seconds",
          "From a request's arrival to the first byte of its answer.", time_buckets(), labels);
    }
    times = known;
  }
  times.duration->Observe(to_seconds(took));
  if (record.first_byte > Duration::zero()) {
    times.first_byte->Observe(to_seconds(record.first_byte));
  }
}

void GatewayMetrics::attempt(const std::string& upstream, std::string_view result) {
  counter("sluice_gateway_attempts_total", "Requests sent to upstreams, by how they ended.",
          {{"upstream", upstream}, {"result", std::string(result)}})
      .Increment();
}

void GatewayMetrics::retry(const std::string& route, std::string_view reason) {
  counter("sluice_gateway_retries_total", "Further attempts, by what had failed.",
          {{"route", route}, {"reason", std::string(reason)}})
      .Increment();
}

void GatewayMetrics::fallback(const std::string& route, const std::string& upstream) {
  counter("sluice_gateway_fallbacks_total", "Requests that went to a fallback.",
          {{"route", route}, {"upstream", upstream}})
      .Increment();
}

void GatewayMetrics::hedge(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_hedges_total", "Second attempts beside a slow first one, by outcome.",
          {{"route", route}, {"outcome", std::string(outcome)}})
      .Increment();
}

void GatewayMetrics::mirror(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_mirrored_total", "Copies of requests, by how they ended.",
          {{"route", route}, {"outcome", std::string(outcome)}})
      .Increment();
}

void GatewayMetrics::mirror_compared(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_mirror_compared_total",
          "Copies compared with the answers that clients got.",
          {{"route", route}, {"outcome", std::string(outcome)}})
      .Increment();
}

void GatewayMetrics::limited(const std::string& tenant, std::string_view limit) {
  counter("sluice_gateway_limited_total", "Requests refused by a limit of their tenant or key.",
          {{"tenant", tenant}, {"limit", std::string(limit)}})
      .Increment();
}

void GatewayMetrics::reload(bool good) {
  counter("sluice_gateway_config_reloads_total", "Configurations taken, and refused.",
          {{"result", good ? "taken" : "refused"}})
      .Increment();
}

}  // namespace sluice::gateway
