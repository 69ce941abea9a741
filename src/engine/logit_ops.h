// Passes over one row of logits: plain loops that the compiler vectorizes, in a fixed order of
// operations, so that a row gives the same bits whatever else is in the batch.
//
// Ties are broken towards the lower token id everywhere. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::engine {

bool all_finite(std::span<const float> row);

// The greatest value; -inf for an empty row. The row must hold no NaN.
float greatest(std::span<const float> row);

// The index of the greatest value. The row must not be empty and hold no NaN.
int32_t argmax(std::span<const float> row);

// row[i] = e^((row[i] - top) * scale), for top >= row[i] and scale > 0; 0 below e^-87. Relative
// error below 1e-6.
void exponentiate(std::span<float> row, float top, float scale);

// ln of the sum of e^row[i]; the row must be finite.
double log_sum_exp(std::span<const float> row);

// The sum in double precision.
double sum(std::span<const float> row);

// Indices of the `count` greatest values (all, if fewer), greatest first.
std::vector<int32_t> top_indices(std::span<const float> row, int count);

// 1 + the number of tokens that come before `token` in the order of top_indices().
int rank_of(std::span<const float> row, int32_t token);

}  // namespace sluice::engine
