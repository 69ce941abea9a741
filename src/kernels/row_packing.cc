#include "kernels/row_packing.h"

#include "kernels/scratch.h"

namespace sluice::kernels {

Cut cut_panels(const PanelWeights& w, const PackedRows& packed) {
  const RowTiles& t = packed.tiles;
  const int64_t tile_bytes = tasks_for(t.rows, t.count) * packed.row_bytes;
  const int64_t blocks = tasks_for(t.count, std::max<int64_t>(1, kPackedBytes / tile_bytes));
  const int64_t tiles = tasks_for(t.count, blocks);
  const int64_t work = kPanelColumns * w.in * tasks_for(t.rows, blocks);
  const int64_t panels =
      std::clamp<int64_t>(std::min(kPanelTaskBytes / w.panel_bytes, kPanelTaskWork / work), 1, 16);
  return {.rows_per_task = tiles,
          .row_tasks = tasks_for(t.count, tiles),
          .cols_per_task = panels,
          .col_tasks = tasks_for(tasks_for(w.out, kPanelColumns), panels)};
}

const std::byte* first_weights(const PanelWeights& w, const Cut& cut, int64_t task) {
  return w.data + task % cut.col_tasks * cut.cols_per_task * w.panel_bytes;
}

void run_panels(const WeightMatrix& matrix, const PackedRows& packed, const MatmulRows& rows,
                const Cut& cut, int64_t task, const std::byte* next) {
  const PanelWeights w = matrix.panels();
  const int64_t tile = task / cut.col_tasks * cut.rows_per_task;
  const int64_t panel = task % cut.col_tasks * cut.cols_per_task;
  matrix.panel_ops().multiply(
      w, packed, rows,
      {.tile_begin = tile,
       .tile_end = std::min(tile + cut.rows_per_task, packed.tiles.count),
       .panel_begin = panel,
       .panel_end = std::min(panel + cut.cols_per_task, tasks_for(w.out, kPanelColumns)),
       .next = next});
}

void Packing::pack(const float* x, int64_t row, int64_t begin, int64_t count) const {
  const int64_t tile = packed.tiles.of_row(row), first = packed.tiles.first(tile);
  const int64_t block_bytes = row_block_bytes(ops->row_kind);
  const int64_t stride = packed.tiles.height(tile) * block_bytes;
  std::byte* out = data + first * packed.row_bytes + (row - first) * block_bytes;
  ops->pack_row(x, count, out + begin / kBlockElements * stride, stride);
}

size_t Packings::add(const WeightMatrix& w, const MatmulRows& rows) {
  const PanelOps& ops = w.panel_ops();
  all_.push_back({.ops = &ops,
                  .in = w.in(),
                  .rows = rows,
                  .data = nullptr,
                  .packed = {.data = nullptr,
                             .tiles = RowTiles::of(rows.n, ops.tile_rows_of(rows.n)),
                             .row_bytes = row_blocks(w.in()) * row_block_bytes(ops.row_kind)},
                  .first_row = 0});
  return all_.size() - 1;
}

int64_t Packings::bytes() const {
  int64_t bytes = 0;
  for (const Packing& p : all_) bytes += p.bytes();
  return bytes;
}

void Packings::place(std::byte* data) {
  int64_t rows = 0;
  for (Packing& p : all_) {
    p.data = data;
    p.packed.data = data;
    p.first_row = rows;
    data += p.bytes();
    rows += p.rows.n;
  }
}

void Packings::pack_row(const RowInput& input, int64_t number) const {
  const Packing& p = find_by(all_, &Packing::first_row, number);
  const int64_t row = number - p.first_row;
  const float* x = p.rows.x + p.rows.row(row) * p.in;
  if (input.up != nullptr) {
    // Not in place: the gate's cache lines need not go back to memory.
    float* activated = thread_scratch(static_cast<size_t>(p.in));
    input.activate(x, input.up + (x - input.x), p.in, activated);
    x = activated;
  }
  p.pack(x, row, 0, p.in);
}

void Packings::pack(const RowInput& input, ThreadTeam& team) const {
  int64_t rows = 0, elements = 0;
  for (const Packing& p : all_) {
    rows += p.rows.n;
    elements += p.rows.n * p.in;
  }
  const int64_t chunk = elements <= kPackAlone ? std::max<int64_t>(1, rows) : 1;
  team.parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) pack_row(input, row);
  });
}

}  // namespace sluice::kernels
