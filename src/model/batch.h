// What a forward pass works on. Plain data, filled by the engine for each step.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace sluice::model {

// Rows of one sequence in a batch: a decode row, or a chunk of its prompt. Row r of the slice has
// the position first_position + r. Positions 0 … first_position-1 are in the KV cache already.
struct SequenceSlice {
  int first_row = 0;
  int rows = 0;
  int first_position = 0;
  // Block ids of the sequence, in order of position; covers first_position + rows positions at
  // least.
  std::span<const int32_t> blocks;
};

// A flat batch: token i is row i; the slices' rows are disjoint, ascending and cover all rows.
// Logits are wanted for `output_rows` only (ascending row indices).
struct Batch {
  std::vector<int32_t> tokens;
  std::vector<SequenceSlice> slices;
  std::vector<int32_t> output_rows;

  void clear() {
    tokens.clear();
    slices.clear();
    output_rows.clear();
  }
};

}  // namespace sluice::model
