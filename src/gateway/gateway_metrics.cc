#include "gateway/gateway_metrics.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <compare>
#include <functional>
#include <map>
#include <utility>

namespace sluice::gateway {
namespace {

using telemetry::View;

constexpr size_t kMostLabels = 3;

const telemetry::Buckets& time_buckets() {
  static const telemetry::Buckets kBuckets = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25,
                                              0.5,   1,      2.5,   5,    10,    30,   60,  300};
  return kBuckets;
}

std::string status_label(const RequestRecord& record) {
  if (record.ending == Ending::kClientGone) return "499";
  return record.status >= 100 && record.status <= 599 ? std::to_string(record.status) : "other";
}

// By a counter's name (the literal's address) and its labels' values.
struct KeyView {
  const char* name;
  std::array<std::string_view, kMostLabels> values;
  auto operator<=>(const KeyView&) const = default;
};
struct Key {
  explicit Key(const KeyView& view) : name(view.name) {
    std::ranges::copy(view.values, values.begin());
  }
  KeyView view() const {
    KeyView out{name, {}};
    std::ranges::copy(values, out.values.begin());
    return out;
  }

  const char* name;
  std::array<std::string, kMostLabels> values;
};
struct ByView {
  using is_transparent = void;
  static KeyView of(const Key& key) { return key.view(); }
  static KeyView of(const KeyView& view) { return view; }
  bool operator()(const auto& a, const auto& b) const { return of(a) < of(b); }
};

uint64_t next_id() {
  static std::atomic<uint64_t> last{0};
  return ++last;
}

}  // namespace

// The library's own look-up is slower by far, and takes a lock.
struct GatewayMetrics::Seen {
  uint64_t owner = 0;
  std::map<Key, telemetry::Counter*, ByView> counters;
  std::map<std::string, RouteTimes, std::less<>> times;
};

GatewayMetrics::GatewayMetrics(telemetry::Metrics& metrics) : metrics_(metrics), id_(next_id()) {}

GatewayMetrics::Seen& GatewayMetrics::seen() const {
  thread_local Seen mine;
  if (mine.owner != id_) mine = {.owner = id_, .counters = {}, .times = {}};
  return mine;
}

telemetry::Counter& GatewayMetrics::counter(const char* name, const char* help,
                                            std::initializer_list<Label> labels) {
  KeyView key{name, {}};
  size_t i = 0;
  for (const Label& label : labels) key.values[i++] = label.value;
  auto& known = seen().counters;
  if (const auto found = known.find(key); found != known.end()) return *found->second;
  telemetry::Labels owned;
  for (const Label& label : labels) owned.emplace(label.name, label.value);
  telemetry::Counter& made = metrics_.counter(View::kNative, name, help, owned);
  known.emplace(Key(key), &made);
  return made;
}

const GatewayMetrics::RouteTimes& GatewayMetrics::times(const std::string& route) {
  auto& known = seen().times;
  if (const auto found = known.find(route); found != known.end()) return found->second;
  const telemetry::Labels labels = {{"route", route}};
  const RouteTimes made{
      .duration =
          &metrics_.histogram(View::kNative, "sluice_gateway_request_duration_seconds",
                              "From a request's arrival to its end.", time_buckets(), labels),
      .first_byte = &metrics_.histogram(View::kNative, "sluice_gateway_first_byte_seconds",
                                        "From a request's arrival to the first byte of its answer.",
                                        time_buckets(), labels)};
  return known.emplace(route, made).first->second;
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
  const RouteTimes& known = times(record.route);
  known.duration->Observe(to_seconds(took));
  if (record.first_byte > Duration::zero()) {
    known.first_byte->Observe(to_seconds(record.first_byte));
  }
}

void GatewayMetrics::attempt(const std::string& upstream, std::string_view result) {
  counter("sluice_gateway_attempts_total", "Requests sent to upstreams, by how they ended.",
          {{"upstream", upstream}, {"result", result}})
      .Increment();
}

void GatewayMetrics::retry(const std::string& route, std::string_view reason) {
  counter("sluice_gateway_retries_total", "Further attempts, by what had failed.",
          {{"route", route}, {"reason", reason}})
      .Increment();
}

void GatewayMetrics::fallback(const std::string& route, const std::string& upstream) {
  counter("sluice_gateway_fallbacks_total", "Requests that went to a fallback.",
          {{"route", route}, {"upstream", upstream}})
      .Increment();
}

void GatewayMetrics::hedge(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_hedges_total", "Second attempts beside a slow first one, by outcome.",
          {{"route", route}, {"outcome", outcome}})
      .Increment();
}

void GatewayMetrics::mirror(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_mirrored_total", "Copies of requests, by how they ended.",
          {{"route", route}, {"outcome", outcome}})
      .Increment();
}

void GatewayMetrics::joined(const std::string& route, size_t requests) {
  counter("sluice_gateway_joined_requests_total", "Predictions that went to servers joined.",
          {{"route", route}})
      .Increment(static_cast<double>(requests));
  counter("sluice_gateway_batches_total", "Requests that predictions were joined into.",
          {{"route", route}})
      .Increment();
}

void GatewayMetrics::payload_event(const std::string& route, std::string_view result) {
  counter("sluice_gateway_payload_events_total",
          "Events of requests and answers for payload logs, by what became of them.",
          {{"route", route}, {"result", result}})
      .Increment();
}

void GatewayMetrics::mirror_compared(const std::string& route, std::string_view outcome) {
  counter("sluice_gateway_mirror_compared_total",
          "Copies compared with the answers that clients got.",
          {{"route", route}, {"outcome", outcome}})
      .Increment();
}

void GatewayMetrics::limited(const std::string& tenant, std::string_view limit) {
  counter("sluice_gateway_limited_total", "Requests refused by a limit of their tenant or key.",
          {{"tenant", tenant}, {"limit", limit}})
      .Increment();
}

void GatewayMetrics::cache(const std::string& route, std::string_view result) {
  counter("sluice_gateway_cache_requests_total", "Requests of routes with a response cache.",
          {{"route", route}, {"result", result}})
      .Increment();
}

void GatewayMetrics::reload(bool good) {
  counter("sluice_gateway_config_reloads_total", "Configurations taken, and refused.",
          {{"result", good ? "taken" : "refused"}})
      .Increment();
}

}  // namespace sluice::gateway
