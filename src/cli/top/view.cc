#include "cli/top/view.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cli/client/table_text.h"
#include "control/json_util.h"

namespace sluice::cli {
namespace {

using control::array_at;
using control::text_at;

constexpr std::string_view kServiceLabel = "serving.kserve.io/inferenceservice";

std::optional<double> rate(const MetricsPage* before, const MetricsPage& after,
                           std::string_view name, double seconds) {
  if (before == nullptr || !after.has(name) || seconds <= 0) return std::nullopt;
  // A server that began anew counts from zero.
  const double come = after.sum(name) - before->sum(name);
  return (come < 0 ? after.sum(name) : come) / seconds;
}

std::optional<double> now(const MetricsPage& page, std::string_view name) {
  return page.has(name) ? std::optional(page.sum(name)) : std::nullopt;
}

void add(std::optional<double>& sum, const std::optional<double>& more) {
  if (more) sum = sum.value_or(0) + *more;
}

void raise(std::optional<double>& most, const std::optional<double>& more) {
  if (more) most = std::max(most.value_or(0), *more);
}

std::string number(const std::optional<double>& value) {
  if (!value) return "-";
  return *value < 10 ? fmt::format("{:.1f}", *value) : fmt::format("{:.0f}", *value);
}

std::string count(const std::optional<double>& value) {
  return value ? fmt::format("{:.0f}", *value) : "-";
}

std::string time_text(const std::optional<double>& seconds) {
  if (!seconds) return "-";
  return *seconds < 1 ? fmt::format("{:.0f}ms", *seconds * 1000) : fmt::format("{:.1f}s", *seconds);
}

std::string share(const std::optional<double>& value) {
  return value ? fmt::format("{:.0f}%", *value * 100) : "-";
}

std::vector<std::string> figure_cells(const Figures& figures) {
  return {number(figures.requests),    number(figures.tokens), time_text(figures.ttft_p50),
          time_text(figures.ttft_p95), count(figures.running), count(figures.waiting),
          share(figures.cache_used)};
}

json::value known(const std::optional<double>& value) {
  return value ? json::value(*value) : json::value(nullptr);
}

void put(json::object& out, const Figures& figures) {
  out["requestsPerSecond"] = known(figures.requests);
  out["tokensPerSecond"] = known(figures.tokens);
  out["ttftP50Seconds"] = known(figures.ttft_p50);
  out["ttftP95Seconds"] = known(figures.ttft_p95);
  out["running"] = known(figures.running);
  out["waiting"] = known(figures.waiting);
  out["kvCacheUsed"] = known(figures.cache_used);
}

const json::object* ready_condition(const json::object& object) {
  const json::array* conditions = array_at(object, "status.conditions");
  for (size_t i = 0; conditions != nullptr && i < conditions->size(); ++i) {
    const json::object* fields = (*conditions)[i].if_object();
    if (fields != nullptr && text_at(*fields, "type") == "Ready") return fields;
  }
  return nullptr;
}

ServiceRow service_row(const json::object& object) {
  ServiceRow row{.ns = std::string(text_at(object, "metadata.namespace")),
                 .name = std::string(text_at(object, "metadata.name")),
                 .ready = "Unknown"};
  if (const json::object* condition = ready_condition(object)) {
    row.ready = text_at(*condition, "status");
    row.reason = text_at(*condition, "reason");
  }
  row.revision = text_at(object, "status.sluice.rollout.stable");
  if (row.revision.empty()) {
    row.revision = text_at(object, "status.components.predictor.latestReadyRevision");
  }
  row.candidate = text_at(object, "status.sluice.rollout.candidate");
  row.weight = control::integer_at(object, "status.sluice.rollout.weight").value_or(0);
  return row;
}

ReplicaRow replica_row(const json::object& object) {
  return {.name = std::string(text_at(object, "metadata.name")),
          .phase = std::string(text_at(object, "status.phase")),
          .url = std::string(text_at(object, "status.url")),
          .revision = std::string(text_at(object, "spec.revision")),
          .restarts = control::integer_at(object, "status.restarts").value_or(0),
          .figures = {}};
}

}  // namespace

Figures figures_between(const MetricsPage* before, const MetricsPage& after, double seconds) {
  constexpr std::string_view kTtft = "vllm:time_to_first_token_seconds";
  Figures out{.requests = rate(before, after, "vllm:request_success_total", seconds),
              .tokens = rate(before, after, "vllm:generation_tokens_total", seconds),
              .ttft_p50 = {},
              .ttft_p95 = {},
              .running = now(after, "vllm:num_requests_running"),
              .waiting = now(after, "vllm:num_requests_waiting"),
              .cache_used = after.largest("vllm:kv_cache_usage_perc")};
  if (!out.cache_used) out.cache_used = after.largest("vllm:gpu_cache_usage_perc");
  if (before != nullptr) {
    const auto earlier = before->buckets(kTtft);
    const auto later = after.buckets(kTtft);
    out.ttft_p50 = telemetry::quantile_between(earlier, later, 0.5);
    out.ttft_p95 = telemetry::quantile_between(earlier, later, 0.95);
  }
  return out;
}

Figures ServiceRow::figures() const {
  Figures out;
  for (const ReplicaRow& replica : replicas) {
    add(out.requests, replica.figures.requests);
    add(out.tokens, replica.figures.tokens);
    add(out.running, replica.figures.running);
    add(out.waiting, replica.figures.waiting);
    raise(out.ttft_p50, replica.figures.ttft_p50);
    raise(out.ttft_p95, replica.figures.ttft_p95);
    raise(out.cache_used, replica.figures.cache_used);
  }
  return out;
}

size_t ServiceRow::ready_replicas() const {
  return static_cast<size_t>(
      std::ranges::count(replicas, std::string_view("Ready"), &ReplicaRow::phase));
}

std::vector<ServiceRow> service_rows(const json::object& services, const json::object& replicas) {
  std::map<std::pair<std::string, std::string>, ServiceRow> rows;
  const json::array* items = array_at(services, "items");
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    if (!(*items)[i].is_object()) continue;
    ServiceRow row = service_row((*items)[i].get_object());
    rows.emplace(std::pair(row.ns, row.name), std::move(row));
  }
  items = array_at(replicas, "items");
  for (size_t i = 0; items != nullptr && i < items->size(); ++i) {
    const json::object* object = (*items)[i].if_object();
    const json::object* labels =
        object == nullptr ? nullptr : control::object_at(*object, "metadata.labels");
    const json::value* service = labels == nullptr ? nullptr : labels->if_contains(kServiceLabel);
    if (service == nullptr || !service->is_string()) continue;
    const auto row = rows.find(
        {std::string(text_at(*object, "metadata.namespace")), std::string(service->get_string())});
    if (row != rows.end()) row->second.replicas.push_back(replica_row(*object));
  }
  std::vector<ServiceRow> out;
  for (auto& [key, row] : rows) {
    std::ranges::sort(row.replicas, {}, &ReplicaRow::name);
    out.push_back(std::move(row));
  }
  return out;
}

std::string top_text(const std::vector<ServiceRow>& rows, const std::string& title) {
  TextTable table({"SERVICE / REPLICA", "READY", "REPLICAS", "REQ/S", "TOK/S", "TTFT P50",
                   "TTFT P95", "RUN", "WAIT", "KV"});
  const auto line = [&table](std::vector<std::string> cells, const Figures& figures) {
    const auto more = figure_cells(figures);
    cells.insert(cells.end(), more.begin(), more.end());
    table.add(std::move(cells));
  };
  for (const ServiceRow& row : rows) {
    std::string ready = row.ready == "True" || row.reason.empty() ? row.ready : row.reason;
    if (!row.candidate.empty()) ready += fmt::format(" ({} % new)", row.weight);
    line({fmt::format("{}/{}", row.ns, row.name), std::move(ready),
          fmt::format("{}/{}", row.ready_replicas(), row.replicas.size())},
         row.figures());
    for (const ReplicaRow& replica : row.replicas) {
      line({"  " + replica.name, replica.phase.empty() ? "Pending" : replica.phase,
            replica.restarts > 0 ? fmt::format("{} restarts", replica.restarts) : ""},
           replica.figures);
    }
  }
  if (rows.empty()) return title + "\n\nThere are no services: sluice apply -f FILE\n";
  return title + "\n\n" + table.text(true);
}

json::value top_json(const std::vector<ServiceRow>& rows) {
  json::array services;
  for (const ServiceRow& row : rows) {
    json::array replicas;
    for (const ReplicaRow& replica : row.replicas) {
      json::object each{{"name", replica.name},
                        {"phase", replica.phase},
                        {"revision", replica.revision},
                        {"url", replica.url},
                        {"restarts", replica.restarts}};
      put(each, replica.figures);
      replicas.push_back(std::move(each));
    }
    json::object each{{"namespace", row.ns},
                      {"name", row.name},
                      {"ready", row.ready},
                      {"reason", row.reason},
                      {"revision", row.revision},
                      {"candidate", row.candidate},
                      {"candidatePercent", row.weight},
                      {"readyReplicas", row.ready_replicas()}};
    put(each, row.figures());
    each["replicas"] = std::move(replicas);
    services.push_back(std::move(each));
  }
  return json::object{{"services", std::move(services)}};
}

}  // namespace sluice::cli
