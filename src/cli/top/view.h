// What `sluice top` shows: services with their replicas, in figures. Pure functions and values.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "telemetry/metrics_page.h"

namespace sluice::cli {

using telemetry::MetricsPage;

// Rates are a second's; nothing where it is not known.
struct Figures {
  std::optional<double> requests;    // that ended
  std::optional<double> tokens;      // generated
  std::optional<double> ttft_p50;    // seconds
  std::optional<double> ttft_p95;    // seconds
  std::optional<double> running;     // requests
  std::optional<double> waiting;     // requests
  std::optional<double> cache_used;  // 0 to 1
};

// Between two looks at a server's /metrics, under vLLM's names, which ours has too. Without a
// first look only what holds now is known.
Figures figures_between(const MetricsPage* before, const MetricsPage& after, double seconds);

struct ReplicaRow {
  std::string name;
  std::string phase;
  std::string url;
  std::string revision;
  int64_t restarts = 0;
  Figures figures;
};

struct ServiceRow {
  std::string ns;
  std::string name;
  std::string ready;  // True, False, Unknown
  std::string reason = {};
  std::string revision = {};   // that has the traffic
  std::string candidate = {};  // that takes over
  int64_t weight = 0;          // of the candidate, in percent
  std::vector<ReplicaRow> replicas = {};

  // Of its replicas together: sums, the largest share of a cache, the slowest time.
  Figures figures() const;
  size_t ready_replicas() const;
};

// Services with their replicas from the API's lists, by namespace and name; without figures.
std::vector<ServiceRow> service_rows(const json::object& services, const json::object& replicas);

std::string top_text(const std::vector<ServiceRow>& rows, const std::string& title);
json::value top_json(const std::vector<ServiceRow>& rows);

}  // namespace sluice::cli
