// What the gateway measures when it is scraped.
#include "gateway/gateway.h"

namespace sluice::gateway {

using telemetry::View;

void Gateway::count_decisions(const Snapshot& snapshot) {
  for (const auto& route : snapshot.routes()) {
    for (const auto& target : route->targets()) {
      for (size_t i = 0; i < kDecisions; ++i) {
        const auto decision = static_cast<Decision>(i);
        const uint64_t more = target->take_decisions(decision);
        if (more == 0) continue;
        metrics_
            .counter(View::kNative, "sluice_gateway_decisions_total",
                     "Choices of a replica, by what decided.",
                     {{"route", route->settings().name},
                      {"upstream", target->upstream().name()},
                      {"policy", std::string(plan::policy_name(route->settings().policy))},
                      {"decision", std::string(decision_name(decision))}})
            .Increment(static_cast<double>(more));
      }
    }
  }
}

void Gateway::set_gauges() {
  const auto current = snapshot();
  const auto gauge = [this](const char* name, const char* help, const telemetry::Labels& labels,
                            double value) {
    metrics_.gauge(View::kNative, name, help, labels).Set(value);
  };
  const auto count = [this](const char* name, const char* help, const telemetry::Labels& labels,
                            uint64_t value) {
    auto& counter = metrics_.counter(View::kNative, name, help, labels);
    counter.Increment(static_cast<double>(value) - counter.Value());
  };
  const TimePoint now = clock_.now();
  for (const auto& [name, upstream] : current->upstreams()) {
    double total = 0;
    double usable = 0;
    double outstanding = 0;
    for (const auto& replica : *upstream->replicas()) {
      total += 1;
      usable += replica->usable(now) ? 1 : 0;
      outstanding += replica->outstanding();
    }
    const telemetry::Labels labels = {{"upstream", name}};
    gauge("sluice_gateway_replicas", "Replicas known of an upstream.", labels, total);
    gauge("sluice_gateway_replicas_usable", "Replicas that would be sent requests now.", labels,
          usable);
    gauge("sluice_gateway_outstanding_requests", "Requests at an upstream's replicas.", labels,
          outstanding);
    if (const auto hold = upstream->hold()) {
      gauge("sluice_gateway_held_requests", "Requests that wait for a replica.", labels,
            hold->waiting());
    }
    if (const auto blocks = upstream->blocks()) {
      gauge("sluice_gateway_block_streams", "Replicas that tell what their prefix cache holds.",
            labels, static_cast<double>(blocks->synced()));
      gauge("sluice_gateway_blocks_known", "Blocks of prefix caches that the balancer knows of.",
            labels, static_cast<double>(blocks->directory().known()));
    }
  }
  for (const auto& route : current->routes()) {
    const std::string& name = route->settings().name;
    gauge("sluice_gateway_queue_waiting", "Requests that wait for a place.", {{"route", name}},
          route->memory()->admission->waiting());
    gauge("sluice_gateway_queue_running", "Requests that have a place.", {{"route", name}},
          route->memory()->admission->running());
  }
  gauge("sluice_gateway_cache_bytes", "Memory of the answers kept.", {},
        static_cast<double>(cache_->bytes()));
  gauge("sluice_gateway_cache_entries", "Answers kept.", {}, static_cast<double>(cache_->size()));
  count_decisions(*current);
  if (access_log_) {
    count("sluice_gateway_access_log_dropped_total", "Lines that the access log had no room for.",
          {}, access_log_->dropped());
  }
}

}  // namespace sluice::gateway
