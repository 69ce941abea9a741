#include "telemetry/metrics.h"

#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <iterator>
#include <utility>

namespace sluice::telemetry {

using prometheus::Registry;

Metrics::Metrics()
    : native_(std::make_unique<Registry>(Registry::InsertBehavior::Merge)),
      vllm_(std::make_unique<Registry>(Registry::InsertBehavior::Merge)) {}

Metrics::~Metrics() = default;

Registry& Metrics::registry(View view) { return view == View::kNative ? *native_ : *vllm_; }

Counter& Metrics::counter(View view, const std::string& name, const std::string& help,
                          const Labels& labels) {
  return prometheus::BuildCounter().Name(name).Help(help).Register(registry(view)).Add(labels);
}

Gauge& Metrics::gauge(View view, const std::string& name, const std::string& help,
                      const Labels& labels) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry(view)).Add(labels);
}

Histogram& Metrics::histogram(View view, const std::string& name, const std::string& help,
                              const Buckets& buckets, const Labels& labels) {
  return prometheus::BuildHistogram()
      .Name(name)
      .Help(help)
      .Register(registry(view))
      .Add(labels, buckets);
}

void Metrics::before_scrape(std::function<void()> hook) {
  const std::lock_guard lock(hooks_mutex_);
  hooks_.push_back(std::move(hook));
}

std::string Metrics::render(bool native, bool vllm) {
  {
    const std::lock_guard lock(hooks_mutex_);
    for (const auto& hook : hooks_) hook();
  }
  std::vector<prometheus::MetricFamily> families;
  const auto append = [&families](const Registry& from) {
    auto more = from.Collect();
    families.insert(families.end(), std::make_move_iterator(more.begin()),
                    std::make_move_iterator(more.end()));
  };
  if (native) append(*native_);
  if (vllm) append(*vllm_);
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace sluice::telemetry
