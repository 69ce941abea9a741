// Pages in Prometheus' text format: whatever comes, sums and quantiles can be asked for.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "telemetry/metrics_page.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using sluice::telemetry::MetricsPage;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto page = MetricsPage::parse(text);
  if (!page) return 0;
  if (std::isnan(page->largest("a").value_or(0))) std::abort();
  const auto buckets = page->buckets("h");
  for (const double q : {0.0, 0.5, 1.0}) {
    const auto whole = sluice::telemetry::quantile_between({}, buckets, q);
    if (whole && std::isnan(*whole)) std::abort();
    if (sluice::telemetry::quantile_between(buckets, buckets, q))
      std::abort();  // nothing came between
  }
  return 0;
}
