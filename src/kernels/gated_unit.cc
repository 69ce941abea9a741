// Gated units whose matrices are panels. A task multiplies some rows with the same columns of gate
// and up, and packs at once what the activation makes of them for the last product: neither result
// is ever more than a task's own, in the second-level cache. Sums, activation and packing are those
// of matmul_each() and matmul_gated(), and so are the bits.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/row_packing.h"
#include "kernels/scratch.h"

namespace sluice::kernels {
namespace {

// Columns are cut at multiples of this: packed rows have even numbers of blocks.
constexpr int64_t kPartPanels = 2;
constexpr int64_t kPartColumns = kPartPanels * kPanelColumns;

// A matrix of panels and what is added to its results, null or one an output.
struct Biased {
  const WeightMatrix* matrix;
  const float* bias;
};

Biased biased(const Product& p) {
  SLUICE_CHECK(p.bias.empty() || static_cast<int64_t>(p.bias.size()) == p.w->out(),
               "one bias an output");
  return {static_cast<const WeightMatrix*>(p.w), p.bias.empty() ? nullptr : p.bias.data()};
}

// The first two products of some rows, cut by columns.
struct Part {
  Biased gate;
  Biased up;
  size_t gate_rows;  // packings
  size_t up_rows;
  size_t into;        // the packing of the results
  int64_t first_row;  // of that
  int64_t cols_per_task;
  int64_t tasks;
  int64_t first_task;
};

// The last product of all rows of a unit.
struct Last {
  const WeightMatrix* matrix;
  MatmulRows rows;
  size_t packing;
  Cut cut;
  int64_t first_task;
};

// What is under way. It stays with the caller's thread, so that a step allocates nothing.
class Units {
 public:
  void clear();
  // `rows` come from x and go to the last product's y.
  void add(const Biased& gate, const Biased& up, const Biased& down, MatmulRows rows);
  void run(Activate activate, ThreadTeam& team);

 private:
  void add_part(const Biased& gate, const Biased& up, const MatmulRows& rows, int64_t first_row);
  void run_part(int64_t task, Activate activate) const;
  void run_last(int64_t task) const;

  std::vector<Part> parts_;
  std::vector<Last> lasts_;
  Packings inputs_;
  Packings results_;
};

void Units::clear() {
  parts_.clear();
  lasts_.clear();
  inputs_.clear();
  results_.clear();
}

// Rows whose packed form stays in the second-level cache, in whole tiles.
int64_t rows_of_part(const WeightMatrix& w, int64_t n) {
  const PanelOps& ops = w.panel_ops();
  const int64_t row_bytes = row_blocks(w.in()) * row_block_bytes(ops.row_kind);
  const int64_t parts = tasks_for(n, std::max<int64_t>(1, kPackedBytes / row_bytes));
  const int64_t rows = tasks_for(n, parts);
  const int64_t tile = ops.tile_rows_of(rows);
  return tasks_for(rows, tile) * tile;
}

void Units::add(const Biased& gate, const Biased& up, const Biased& down, MatmulRows rows) {
  if (rows.n == 0) return;
  const MatmulRows results = {
      .x = nullptr, .y = rows.y, .ids = nullptr, .bias = down.bias, .n = rows.n};
  lasts_.push_back({.matrix = down.matrix,
                    .rows = results,
                    .packing = results_.add(*down.matrix, results),
                    .cut = {},
                    .first_task = 0});
  const int64_t each = rows_of_part(*gate.matrix, rows.n);
  for (int64_t first = 0; first < results.n; first += each) {
    MatmulRows some = rows;
    some.n = std::min(each, results.n - first);
    if (rows.ids == nullptr) {
      some.x += first * gate.matrix->in();
    } else {
      some.ids += first;
    }
    add_part(gate, up, some, first);
  }
}

void Units::add_part(const Biased& gate, const Biased& up, const MatmulRows& rows,
                     int64_t first_row) {
  const size_t gate_rows = inputs_.add(*gate.matrix, rows);
  const bool is_shared = &gate.matrix->panel_ops() == &up.matrix->panel_ops();
  const int64_t panels = gate.matrix->panels().panel_bytes + up.matrix->panels().panel_bytes;
  const int64_t bytes = std::max<int64_t>(1, kPartPanels * panels);
  const int64_t work = 2 * kPartColumns * gate.matrix->in() * rows.n;
  const int64_t wanted = std::min(kPanelTaskBytes / bytes, kPanelTaskWork / work);
  const int64_t columns = kPartColumns * std::clamp<int64_t>(wanted, 1, 8);
  parts_.push_back({.gate = gate,
                    .up = up,
                    .gate_rows = gate_rows,
                    .up_rows = is_shared ? gate_rows : inputs_.add(*up.matrix, rows),
                    .into = lasts_.back().packing,
                    .first_row = first_row,
                    .cols_per_task = columns,
                    .tasks = tasks_for(gate.matrix->out(), columns),
                    .first_task = 0});
}

// The weights of columns that begin with a multiple of kPanelColumns.
PanelWeights columns_of(const WeightMatrix& matrix, int64_t begin, int64_t cols) {
  PanelWeights w = matrix.panels();
  w.data += begin / kPanelColumns * w.panel_bytes;
  w.out = cols;
  return w;
}

// y[rows, cols] = all packed rows times columns from `begin` on.
void multiply_columns(const Biased& m, const PackedRows& packed, int64_t begin, int64_t cols,
                      const std::byte* next, float* y) {
  const PanelWeights w = columns_of(*m.matrix, begin, cols);
  m.matrix->panel_ops().multiply(w, packed,
                                 {.x = nullptr,
                                  .y = y,
                                  .ids = nullptr,
                                  .bias = m.bias == nullptr ? nullptr : m.bias + begin,
                                  .n = packed.tiles.rows},
                                 {.tile_begin = 0,
                                  .tile_end = packed.tiles.count,
                                  .panel_begin = 0,
                                  .panel_end = tasks_for(cols, kPanelColumns),
                                  .next = next});
}

void Units::run_part(int64_t task, Activate activate) const {
  const Part& p = find_by(parts_, &Part::first_task, task);
  const int64_t begin = (task - p.first_task) * p.cols_per_task;
  const int64_t end = std::min(begin + p.cols_per_task, p.gate.matrix->out());
  const int64_t cols = end - begin;
  const PackedRows& rows = inputs_[p.gate_rows].packed;
  const int64_t n = rows.tiles.rows;
  const bool ends = end == p.gate.matrix->out();
  const Part* then = &p + (ends ? 1 : 0);
  const std::byte* after = then == parts_.data() + parts_.size()
                               ? nullptr
                               : columns_of(*then->gate.matrix, ends ? 0 : end, 0).data;
  float* gate = thread_scratch(static_cast<size_t>(2 * n * cols));
  float* up = gate + n * cols;
  multiply_columns(p.gate, rows, begin, cols, columns_of(*p.up.matrix, begin, cols).data, gate);
  multiply_columns(p.up, inputs_[p.up_rows].packed, begin, cols, after, up);
  activate(gate, up, n * cols, gate);
  for (int64_t row = 0; row < n; ++row) {
    results_[p.into].pack(gate + row * cols, p.first_row + row, begin, cols);
  }
}

void Units::run_last(int64_t task) const {
  const Last& last = find_by(lasts_, &Last::first_task, task);
  const int64_t own = task - last.first_task;
  const bool ends = own + 1 == last.cut.tasks();
  const Last* then = &last + (ends ? 1 : 0);
  const std::byte* next =
      then == lasts_.data() + lasts_.size()
          ? nullptr
          : first_weights(then->matrix->panels(), then->cut, ends ? 0 : own + 1);
  run_panels(*last.matrix, results_[last.packing].packed, last.rows, last.cut, own, next);
}

void Units::run(Activate activate, ThreadTeam& team) {
  const int64_t bytes = inputs_.bytes();
  std::byte* scratch = shared_scratch(static_cast<size_t>(bytes + results_.bytes()));
  inputs_.place(scratch);
  results_.place(scratch + bytes);
  int64_t part_tasks = 0, last_tasks = 0;
  for (Part& p : parts_) {
    p.first_task = part_tasks;
    part_tasks += p.tasks;
  }
  for (Last& last : lasts_) {
    last.cut = cut_panels(last.matrix->panels(), results_[last.packing].packed);
    last.first_task = last_tasks;
    last_tasks += last.cut.tasks();
  }
  inputs_.pack({}, team);
  for_tasks(part_tasks, team, [&](int64_t task) { run_part(task, activate); });
  for_tasks(last_tasks, team, [this](int64_t task) { run_last(task); });
}

Units& no_units() {
  thread_local Units units;
  units.clear();
  return units;
}

// With fewer rows a unit's time is that of reading its weights, which long stretches of one matrix
// do best.
constexpr int64_t kFewRows = 16;

// Whether a unit of so many rows is made at once; else product by product.
bool is_one(const Matrix& gate, const Matrix& up, const Matrix& down, int64_t rows) {
  SLUICE_CHECK(gate.in() == up.in() && gate.out() == up.out() && gate.out() == down.in(),
               "the matrices of one unit");
  return rows >= kFewRows && gate.is_repacked() && up.is_repacked() && down.is_repacked();
}

Activate activate_of(const Matrix& w, Gate activation) {
  const OpTable& table = ops(static_cast<const WeightMatrix&>(w).isa());
  return activation == Gate::kSilu ? table.silu_mul : table.gelu_mul;
}

}  // namespace

void matmul_unit(const GatedProducts& unit, Gate activation, const float* x, int64_t n,
                 ThreadTeam& team) {
  if (!is_one(*unit.gate.w, *unit.up.w, *unit.down.w, n)) {
    const Product first[] = {unit.gate, unit.up};
    matmul_each(first, x, n, team);
    return matmul_gated(unit.down, activation, unit.gate.y, unit.up.y, n, team);
  }
  Units& units = no_units();
  const MatmulRows rows = {.x = x, .y = unit.down.y, .ids = nullptr, .bias = nullptr, .n = n};
  units.add(biased(unit.gate), biased(unit.up), biased(unit.down), rows);
  units.run(activate_of(*unit.down.w, activation), team);
}

void matmul_unit_routed(const GatedExperts& unit, Gate activation, const float* x,
                        const RoutedRows& routed, ThreadTeam& team) {
  const size_t experts = unit.gate.experts.size();
  if (experts == 0) return;
  // Experts of one tensor are of one type.
  const int64_t rows = routed.first.back() / static_cast<int64_t>(experts);
  if (!is_one(*unit.gate.experts[0], *unit.up.experts[0], *unit.down.experts[0], rows)) {
    const ExpertProduct first[] = {unit.gate, unit.up};
    matmul_routed(first, x, routed, team);
    return matmul_gated_routed(unit.down, activation, unit.gate.y, unit.up.y, routed.first, team);
  }
  Units& units = no_units();
  for (size_t e = 0; e + 1 < routed.first.size(); ++e) {
    const int64_t first = routed.first[e], n = routed.first[e + 1] - first;
    const auto expert = [e](const ExpertProduct& p) {
      return Biased{static_cast<const WeightMatrix*>(p.experts[e].get()), nullptr};
    };
    const Biased down = expert(unit.down);
    units.add(expert(unit.gate), expert(unit.up), down,
              {.x = x,
               .y = unit.down.y + first * down.matrix->out(),
               .ids = routed.rows.data() + first,
               .bias = nullptr,
               .n = n});
  }
  units.run(activate_of(*unit.down.experts[0], activation), team);
}

}  // namespace sluice::kernels
