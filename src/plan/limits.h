// What a tenant or a key may use. 0 means: no limit.
#pragma once

#include <cstdint>

namespace sluice::plan {

struct Limits {
  int64_t requests_per_minute = 0;  // sliding 60 s
  int64_t tokens_per_minute = 0;    // sliding 60 s; prompt and completion together
  int64_t tokens_per_day = 0;       // UTC days
  int64_t max_concurrent = 0;       // requests under way
  int64_t micros_per_day = 0;       // money, in millionths of the currency unit; UTC days
  int64_t micros_per_month = 0;     // UTC months
  bool operator==(const Limits&) const = default;
};

// What a million tokens cost on a route, in millionths of the currency unit.
struct Price {
  int64_t prompt = 0;
  int64_t completion = 0;
  bool operator==(const Price&) const = default;
};

}  // namespace sluice::plan
