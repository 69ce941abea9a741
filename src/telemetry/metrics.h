// Metrics: the process's counters, gauges and histograms, in two views of one /metrics page.
//
// The native view has names sluice_…, clean under `promtool check metrics`; the vLLM view repeats
// the same events under the names that vLLM's dashboards and autoscalers read. Label values come
// from closed sets (model names, enumerations), never from a request's bytes.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/family.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>

#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace prometheus {
class Registry;
}

namespace sluice::telemetry {

using Counter = prometheus::Counter;
using Gauge = prometheus::Gauge;
using Histogram = prometheus::Histogram;
using Labels = prometheus::Labels;
using Buckets = prometheus::Histogram::BucketBoundaries;

enum class View { kNative, kVllm };

// Callable from any thread. References stay valid as long as the registry lives.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The same name and labels give the same metric.
  Counter& counter(View view, const std::string& name, const std::string& help,
                   const Labels& labels = {});
  Gauge& gauge(View view, const std::string& name, const std::string& help,
               const Labels& labels = {});
  Histogram& histogram(View view, const std::string& name, const std::string& help,
                       const Buckets& buckets, const Labels& labels = {});

  // Called before each rendering, to set gauges from what they measure.
  void before_scrape(std::function<void()> hook);

  // Prometheus text exposition format 0.0.4.
  std::string render(bool native, bool vllm);

 private:
  prometheus::Registry& registry(View view);

  std::unique_ptr<prometheus::Registry> native_;
  std::unique_ptr<prometheus::Registry> vllm_;
  std::mutex hooks_mutex_;
  std::vector<std::function<void()>> hooks_;
};

}  // namespace sluice::telemetry
