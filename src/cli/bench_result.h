// What a bench run measured, and its summary.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace sluice::cli {

// One request. Times in seconds since the run's start.
struct RequestRecord {
  double start = 0;
  std::vector<double> token_times;
  double end = 0;
  int input_tokens = 0;
  int cached_tokens = 0;
  int output_tokens = 0;
  std::string error;  // empty: it succeeded
};

struct Goodput {
  double ttft_ms = 0;
  double tpot_ms = 0;
  double e2el_ms = 0;
  bool asked() const { return ttft_ms > 0 || tpot_ms > 0 || e2el_ms > 0; }
};

// Counts, rates, and mean, median, p90 and p99 of TTFT, TPOT, ITL and E2EL in milliseconds.
json::object summarize(const std::vector<RequestRecord>& records, double seconds,
                       const Goodput& goodput);

// The summary as a table.
std::string show_summary(const json::object& summary);

}  // namespace sluice::cli
