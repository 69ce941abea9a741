// Load reports of gateways: no crash, and what was taken is within its bounds and is written and
// read again as the same.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "plan/load_report.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace plan = sluice::plan;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto report = plan::parse_load_report(text);
  if (!report) {
    if (report.error().message().empty()) std::abort();
    return 0;
  }
  if (report->gateway.empty() || report->upstreams.size() > plan::kMaxLoadUpstreams) std::abort();
  for (const plan::UpstreamLoad& load : report->upstreams) {
    if (load.name.empty() || load.waiting_first.size() > plan::kMaxWaitingFirst) std::abort();
    if (load.in_flight < 0 || !(load.concurrency >= 0)) std::abort();
    if (load.ttft.empty() == load.ttft.quantile(0.5).has_value()) std::abort();
  }
  if (report->wake.empty() && !report->second && !report->ended) return 0;  // "wake": []
  auto again = plan::parse_load_report(plan::to_json(*report));
  if (!again || again->upstreams.size() != report->upstreams.size()) std::abort();
  for (size_t i = 0; i < again->upstreams.size(); ++i) {
    const double was = report->upstreams[i].concurrency;
    if (std::abs(again->upstreams[i].concurrency - was) > 1e-9 * was) std::abort();
    again->upstreams[i].concurrency = was;
  }
  if (!(*again == *report)) std::abort();
  return 0;
}
