// Histogram boundaries, in seconds or counts. Those of vLLM's metrics are vLLM's, so that its
// dashboards' quantiles come out the same.
#pragma once

#include "telemetry/metrics.h"

namespace sluice::telemetry {

inline const Buckets& first_token_buckets() {
  static const Buckets buckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1,
                                  0.25,  0.5,   0.75, 1.0,  2.5,  5.0,  7.5,  10.0,
                                  20.0,  40.0,  80.0, 160,  640,  2560};
  return buckets;
}

inline const Buckets& inter_token_buckets() {
  static const Buckets buckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3,  0.4, 0.5,
                                  0.75, 1.0,   2.5,  5.0,   7.5, 10.0, 20., 40.0, 80.0};
  return buckets;
}

inline const Buckets& latency_buckets() {
  static const Buckets buckets = {0.3,  0.5,   0.8,   1.0,   1.5,   2.0,   2.5,
                                  5.0,  10.0,  15.0,  20.0,  30.0,  40.0,  50.0,
                                  60.0, 120.0, 240.0, 480.0, 960.0, 1920., 7680.0};
  return buckets;
}

// 1, 2, 5, 10, … up to `most`.
inline Buckets count_buckets(int most) {
  Buckets buckets;
  for (double decade = 1; decade <= most; decade *= 10) {
    for (const double step : {1.0, 2.0, 5.0}) {
      if (decade * step <= most) buckets.push_back(decade * step);
    }
  }
  return buckets;
}

}  // namespace sluice::telemetry
