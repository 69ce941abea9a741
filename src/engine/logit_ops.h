// Passes over one row of logits: plain loops that the compiler vectorizes, in a fixed order of
// operations, so that a row gives the same bits whatever else is in the batch.
//
// Ties are broken towards the lower token id everywhere. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::engine {

// What one pass over a row tells.
struct Peak {
  float value = 0.0f;  // the greatest
  int32_t index = 0;   // the first that has it
  bool finite = true;  // all values are; else the rest means nothing, but for -inf
};

// The row must not be empty. Values of -inf are taken for what they are in `value` and `index`.
Peak find_peak(std::span<const float> row);

// The greatest value; -inf for an empty row. The row must hold no NaN.
float greatest(std::span<const float> row);

// out[i] = e^((row[i] - top) * scale), for top >= row[i] and scale > 0; 0 below e^-87. Relative
// error below 1e-6. `out` is as long as the row and may be the row.
void exponentiate(std::span<const float> row, float top, float scale, std::span<float> out);

// ln of the sum of e^row[i]; the row must be finite, `top` its greatest value.
double log_sum_exp(std::span<const float> row, float top);

// The sum in double precision.
double sum(std::span<const float> row);

// Indices of the `count` greatest values (all, if fewer), greatest first, in place of what `best`
// held.
void top_indices(std::span<const float> row, int count, std::vector<int32_t>& best);

// 1 + the number of tokens that come before `token` in the order of top_indices().
int rank_of(std::span<const float> row, int32_t token);

}  // namespace sluice::engine
