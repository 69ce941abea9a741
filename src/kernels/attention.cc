// Cutting attention into tasks: one sequence's query rows × one KV head. How many rows share a task
// changes what is read twice, never a result.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

// Query rows × heads of a task: enough to pay for decoding a tile of K and V once.
constexpr int kQueriesPerTask = 32;

}  // namespace

void attention(Isa isa, const AttentionShape& shape, const KvLayer& kv,
               std::span<const AttentionSlice> slices, ThreadTeam& team) {
  SLUICE_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
               "query heads divide evenly over KV heads");
  SLUICE_CHECK(shape.kv_heads == kv.kv_heads && shape.head_dim == kv.head_dim,
               "the cache has the model's shape");
  const OpTable& table = ops(isa);
  const int rows_per_task = std::max(1, kQueriesPerTask / (shape.heads / shape.kv_heads));
  // Tasks are numbered through all slices; first[i] is slice i's first one.
  thread_local std::vector<int64_t> first;
  first.assign(1, 0);
  for (const AttentionSlice& slice : slices) {
    const int64_t tiles = (slice.rows + rows_per_task - 1) / rows_per_task;
    first.push_back(first.back() + tiles * shape.kv_heads);
  }
  const std::vector<int64_t>& starts = first;
  team.parallel_for(starts.back(), 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const auto after = std::upper_bound(starts.begin(), starts.end(), task);
      const int64_t slice = after - starts.begin() - 1;
      const int64_t local = task - starts[static_cast<size_t>(slice)];
      const AttentionSlice& s = slices[static_cast<size_t>(slice)];
      const int row = static_cast<int>(local / shape.kv_heads) * rows_per_task;
      table.attention({.shape = &shape,
                       .kv = &kv,
                       .slice = &s,
                       .kv_head = static_cast<int>(local % shape.kv_heads),
                       .row_begin = row,
                       .row_end = std::min(row + rows_per_task, s.rows)});
    }
  });
}

void write_kv(Isa isa, const KvLayer& kv, std::span<const int32_t> blocks, int first_position,
              int rows, const float* k, const float* v) {
  const OpTable& table = ops(isa);
  for (int row = 0; row < rows; ++row) {
    const int position = first_position + row;
    const int32_t block = blocks[static_cast<size_t>(position / kv.block_size)];
    for (int head = 0; head < kv.kv_heads; ++head, k += kv.head_dim, v += kv.head_dim) {
      const KvRow at = kv_row(kv, block, head, position % kv.block_size);
      table.store_kv(kv.element, k, kv.head_dim, at.k, at.k_scale);
      table.store_kv(kv.element, v, kv.head_dim, at.v, at.v_scale);
    }
  }
}

}  // namespace sluice::kernels
