// PagedRunner: a model stand-in for tests. Its KV cache is a paged store of what each slot must
// hold; its logits are a hash of the sequence's whole prefix, read back through the block table.
// Wrong block tables, blocks shared by mistake, overwritten or stale ones change the output or
// abort at once. With a clock, its passes take time.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "base/rng.h"
#include "engine/runner.h"

namespace sluice::engine {

struct FakeModel {
  int vocab = 64;
  uint64_t broken_one_in = 0;  // prefixes whose logits are not finite; 0 = none
  int memory = 0;  // tokens that logits depend on, up to 2: such a model repeats itself; 0 = all

  // What logits depend on, token by token.
  uint64_t extend_chain(uint64_t chain, int32_t token) const {
    const uint64_t next = uint64_t(uint32_t(token)) + 1;
    if (memory == 1) return next;
    if (memory == 2) return (chain << 32) | next;
    return Rng(chain ^ next * 0x9E3779B97F4A7C15u).next();
  }

  // Logits after a prefix: a few likely tokens, some ties.
  void logits(uint64_t chain, std::span<float> row) const {
    Rng rng(chain);
    for (float& x : row) x = static_cast<float>(rng.below(160)) / 16.0f;
    if (broken_one_in > 0 && rng.below(broken_one_in) == 0) {
      row[rng.below(row.size())] = rng.chance(0.5) ? std::numeric_limits<float>::quiet_NaN()
                                                   : std::numeric_limits<float>::infinity();
    }
  }
};

// How long a pass takes, by its rows.
struct FakeTime {
  Duration step{};
  Duration row{};
  Duration of(size_t rows) const { return step + row * static_cast<int64_t>(rows); }
};

class PagedRunner : public Runner {
 public:
  PagedRunner(const FakeModel& model, int64_t blocks, int block_size)
      : model_(model), block_size_(block_size), slots_(size_t(blocks) * size_t(block_size)) {}

  int vocab() const override { return model_.vocab; }

  void forward(const model::Batch& batch, std::span<float> logits) override {
    std::vector<uint64_t> chains(batch.tokens.size());
    int next_row = 0;
    for (const model::SequenceSlice& slice : batch.slices) {
      SLUICE_CHECK(slice.first_row == next_row && slice.rows > 0, "rows are not covered in order");
      next_row += slice.rows;
      for (int r = 0; r < slice.rows; ++r) store(batch, slice, r);
    }
    SLUICE_CHECK(next_row == static_cast<int>(batch.tokens.size()), "rows outside of slices");
    // Only now, so that a slice that writes into another one's block is seen.
    for (const model::SequenceSlice& slice : batch.slices) read_back(slice, chains);
    auto out = logits;
    int last = -1;
    for (const int row : batch.output_rows) {
      SLUICE_CHECK(row > last, "output rows are not ascending");
      last = row;
      model_.logits(chains[size_t(row)], out.first(size_t(model_.vocab)));
      out = out.subspan(size_t(model_.vocab));
    }
    SLUICE_CHECK(out.empty(), "the logits' size does not match the output rows");
    rows_ += batch.tokens.size();
    if (clock_ != nullptr) clock_->advance(time_.of(batch.tokens.size()));
  }

  uint64_t rows() const { return rows_; }
  // From now on each pass moves the clock, which outlives the runner.
  void take_time(ManualClock& clock, const FakeTime& time) {
    clock_ = &clock;
    time_ = time;
  }

 private:
  struct Slot {
    int32_t token = -1;
    int32_t position = -1;
  };

  Slot& slot(const model::SequenceSlice& slice, int position) {
    const int32_t block = slice.blocks[size_t(position / block_size_)];
    return slots_[size_t(block) * size_t(block_size_) + size_t(position % block_size_)];
  }

  void store(const model::Batch& batch, const model::SequenceSlice& slice, int r) {
    const int position = slice.first_position + r;
    SLUICE_CHECK(size_t(position) / size_t(block_size_) < slice.blocks.size(),
                 "a row without a block");
    slot(slice, position) = {batch.tokens[size_t(slice.first_row + r)], position};
  }

  void read_back(const model::SequenceSlice& slice, std::span<uint64_t> chains) {
    uint64_t chain = 0;
    for (int position = 0; position < slice.first_position + slice.rows; ++position) {
      const Slot& s = slot(slice, position);
      SLUICE_CHECK(s.position == position, "a block holds another position's K and V");
      chain = model_.extend_chain(chain, s.token);
      if (position >= slice.first_position) {
        chains[size_t(slice.first_row + position - slice.first_position)] = chain;
      }
    }
  }

  const FakeModel model_;
  const int block_size_;
  std::vector<Slot> slots_;
  uint64_t rows_ = 0;
  ManualClock* clock_ = nullptr;
  FakeTime time_;
};

}  // namespace sluice::engine
