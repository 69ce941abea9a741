// Products of rows with matrices: packing the rows, cutting all of it into tasks for the team.
// Columns are cut first, then blocks of rows; never the reduction.
#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "base/check.h"
#include "kernels/op_table.h"
#include "kernels/panels.h"
#include "kernels/scratch.h"
#include "kernels/weight_matrix.h"

namespace sluice::kernels {
namespace {

// What a matrix is cut into.
struct Cut {
  int64_t rows_per_task;  // or tiles of packed rows
  int64_t row_tasks;
  int64_t cols_per_task;  // or panels
  int64_t col_tasks;

  int64_t tasks() const { return row_tasks * col_tasks; }
};

int64_t divide_up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A task of stored weights has at least this many multiplications, so that handing it out costs
// little beside it.
constexpr int64_t kTaskWork = int64_t{1} << 16;
// Rows of such a task: their activations stay in the second-level cache while columns pass by.
constexpr int64_t kRowBlock = 96;
// Its columns: a multiple of every kernel's panel.
constexpr int64_t kColumnStep = 32;
constexpr int64_t kMostColumns = 256;

Cut cut_stored(const WeightRows& w, int64_t rows) {
  const int64_t work_per_column = std::max<int64_t>(1, w.in * std::min(rows, kRowBlock));
  const int64_t wanted = kTaskWork / work_per_column / kColumnStep * kColumnStep;
  const int64_t columns = std::clamp(wanted, kColumnStep, kMostColumns);
  return {.rows_per_task = kRowBlock,
          .row_tasks = divide_up(rows, kRowBlock),
          .cols_per_task = columns,
          .col_tasks = divide_up(w.out, columns)};
}

// Packed rows of a task stay in the second-level cache beside a panel.
constexpr int64_t kPackedBytes = 512 << 10;
// A task of panels reads about this many bytes of weights or does this many multiplications,
// whichever is less: some microseconds.
constexpr int64_t kPanelTaskBytes = 128 << 10;
constexpr int64_t kPanelTaskWork = int64_t{1} << 20;

Cut cut_panels(const PanelWeights& w, const PackedRows& packed) {
  const RowTiles& t = packed.tiles;
  const int64_t tile_bytes = divide_up(t.rows, t.count) * packed.row_bytes;
  const int64_t blocks = divide_up(t.count, std::max<int64_t>(1, kPackedBytes / tile_bytes));
  const int64_t tiles = divide_up(t.count, blocks);
  const int64_t work = kPanelColumns * w.in * divide_up(t.rows, blocks);
  const int64_t panels =
      std::clamp<int64_t>(std::min(kPanelTaskBytes / w.panel_bytes, kPanelTaskWork / work), 1, 16);
  return {.rows_per_task = tiles,
          .row_tasks = divide_up(t.count, tiles),
          .cols_per_task = panels,
          .col_tasks = divide_up(divide_up(w.out, kPanelColumns), panels)};
}

// Rows that some products share, as one kind of panel wants them.
struct Packing {
  const PanelTable* table;
  RowKind kind;
  int64_t in;
  MatmulRows rows;
  std::byte* data;  // where the packed rows lie
  PackedRows packed;
  int64_t first_row;  // rows of the packings before
};

// One matrix and the rows that it multiplies.
struct Job {
  const WeightMatrix* matrix;
  MatmulRows rows;
  size_t packing;  // of a repacked matrix
  Cut cut;
  int64_t first_task;
};

// The rows of products: x, or activation(gate) * up where `up` is not null and x is the gate.
struct Input {
  const float* x = nullptr;
  const float* up = nullptr;
  void (*activate)(const float* gate, const float* up, int64_t count, float* out) = nullptr;
};

// What is under way. It stays with the caller's thread, so that a step allocates nothing.
class Jobs {
 public:
  void clear() {
    jobs_.clear();
    packings_.clear();
  }
  // A matrix for rows that those of the jobs from `group` on share: see size().
  void add(const Matrix& w, const MatmulRows& rows, size_t group);
  size_t size() const { return jobs_.size(); }
  void run(const Input& input, ThreadTeam& team);

 private:
  size_t packing_of(const WeightMatrix& w, const MatmulRows& rows, size_t group);
  void pack(const Input& input, ThreadTeam& team);
  void pack_row(const Input& input, int64_t row) const;
  void run_task(int64_t task) const;

  std::vector<Job> jobs_;
  std::vector<Packing> packings_;
};

void Jobs::add(const Matrix& w, const MatmulRows& rows, size_t group) {
  SLUICE_CHECK(group == jobs_.size() || jobs_[group].matrix->in() == w.in(),
               "products of the same rows");
  if (rows.n == 0) return;
  const auto& matrix = static_cast<const WeightMatrix&>(w);
  const size_t packing = matrix.is_repacked() ? packing_of(matrix, rows, group) : 0;
  jobs_.push_back(
      {.matrix = &matrix, .rows = rows, .packing = packing, .cut = {}, .first_task = 0});
}

size_t Jobs::packing_of(const WeightMatrix& w, const MatmulRows& rows, size_t group) {
  const RowKind kind = row_kind(w.dtype());
  for (size_t i = group; i < jobs_.size(); ++i) {
    const Job& job = jobs_[i];
    if (job.matrix->is_repacked() && packings_[job.packing].kind == kind) return job.packing;
  }
  packings_.push_back({.table = &w.table(),
                       .kind = kind,
                       .in = w.in(),
                       .rows = rows,
                       .data = nullptr,
                       .packed = {.data = nullptr,
                                  .tiles = RowTiles::of(rows.n, w.table().of(kind).tile_rows),
                                  .row_bytes = row_blocks(w.in()) * row_block_bytes(kind)},
                       .first_row = 0});
  return packings_.size() - 1;
}

// Where in a list of things numbered by `first` the number `i` belongs.
template <typename T>
const T& find_by(const std::vector<T>& list, int64_t T::* first, int64_t i) {
  return *(std::upper_bound(list.begin(), list.end(), i,
                            [first](int64_t n, const T& item) { return n < item.*first; }) -
           1);
}

void Jobs::pack_row(const Input& input, int64_t number) const {
  const Packing& p = find_by(packings_, &Packing::first_row, number);
  const int64_t row = number - p.first_row;
  const int64_t tile = p.packed.tiles.of_row(row), first = p.packed.tiles.first(tile);
  const int64_t block_bytes = row_block_bytes(p.kind);
  std::byte* out = p.data + first * p.packed.row_bytes + (row - first) * block_bytes;
  const float* x = p.rows.x + p.rows.row(row) * p.in;
  if (input.up != nullptr) {
    // Not in place: the gate's cache lines need not go back to memory.
    float* activated = thread_scratch(static_cast<size_t>(p.in));
    input.activate(x, input.up + (x - input.x), p.in, activated);
    x = activated;
  }
  p.table->of(p.kind).pack_row(x, p.in, out, p.packed.tiles.height(tile) * block_bytes);
}

// Below this many elements the caller packs rows alone: waking the team would take longer.
constexpr int64_t kPackAlone = 8192;

void Jobs::pack(const Input& input, ThreadTeam& team) {
  int64_t rows = 0, bytes = 0, elements = 0;
  for (Packing& p : packings_) {
    p.first_row = rows;
    rows += p.rows.n;
    bytes += p.rows.n * p.packed.row_bytes;
    elements += p.rows.n * p.in;
  }
  std::byte* data = shared_scratch(static_cast<size_t>(bytes));
  for (Packing& p : packings_) {
    p.data = data;
    p.packed.data = data;
    data += p.rows.n * p.packed.row_bytes;
  }
  const int64_t chunk = elements <= kPackAlone ? std::max<int64_t>(1, rows) : 1;
  team.parallel_for(rows, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) pack_row(input, row);
  });
}

void run_stored(const WeightMatrix& matrix, const MatmulRows& rows, const Cut& cut, int64_t task) {
  const WeightRows& w = matrix.rows();
  const int64_t row = task / cut.col_tasks * cut.rows_per_task;
  const int64_t col = task % cut.col_tasks * cut.cols_per_task;
  ops(matrix.isa())
      .matmul(w, rows,
              {.row_begin = row,
               .row_end = std::min(row + cut.rows_per_task, rows.n),
               .col_begin = col,
               .col_end = std::min(col + cut.cols_per_task, w.out)});
}

void run_panels(const WeightMatrix& matrix, const PackedRows& packed, const MatmulRows& rows,
                const Cut& cut, int64_t task) {
  const PanelWeights w = matrix.panels();
  const int64_t tile = task / cut.col_tasks * cut.rows_per_task;
  const int64_t panel = task % cut.col_tasks * cut.cols_per_task;
  matrix.table()
      .of(row_kind(w.dtype))
      .multiply(
          w, packed, rows,
          {.tile_begin = tile,
           .tile_end = std::min(tile + cut.rows_per_task, packed.tiles.count),
           .panel_begin = panel,
           .panel_end = std::min(panel + cut.cols_per_task, divide_up(w.out, kPanelColumns))});
}

void Jobs::run_task(int64_t task) const {
  const Job& job = find_by(jobs_, &Job::first_task, task);
  const int64_t own = task - job.first_task;
  if (job.matrix->is_repacked()) {
    run_panels(*job.matrix, packings_[job.packing].packed, job.rows, job.cut, own);
  } else {
    run_stored(*job.matrix, job.rows, job.cut, own);
  }
}

// Calls fn(task) for 0 … count-1. Each member of the team has a stretch of neighbouring tasks, so
// that it streams through weights that lie together; who is done takes from the others' stretches.
template <typename Fn>
void for_tasks(int64_t count, ThreadTeam& team, Fn&& fn) {
  constexpr int kMostStretches = 64;
  struct alignas(64) Stretch {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };
  const int stretches = std::min(team.size(), kMostStretches);
  if (stretches == 1 || count == 1) {
    for (int64_t task = 0; task < count; ++task) fn(task);
    return;
  }
  std::array<Stretch, kMostStretches> all;
  for (int i = 0; i < stretches; ++i) {
    Stretch& s = all[static_cast<size_t>(i)];
    s.next.store(count * i / stretches, std::memory_order_relaxed);
    s.end = count * (i + 1) / stretches;
  }
  team.run([&](int member) {
    for (int i = 0; i < stretches; ++i) {
      Stretch& s = all[static_cast<size_t>((member + i) % stretches)];
      while (true) {
        const int64_t task = s.next.fetch_add(1, std::memory_order_relaxed);
        if (task >= s.end) break;
        fn(task);
      }
    }
  });
}

void Jobs::run(const Input& input, ThreadTeam& team) {
  pack(input, team);
  int64_t tasks = 0;
  for (Job& job : jobs_) {
    job.cut = job.matrix->is_repacked()
                  ? cut_panels(job.matrix->panels(), packings_[job.packing].packed)
                  : cut_stored(job.matrix->rows(), job.rows.n);
    job.first_task = tasks;
    tasks += job.cut.tasks();
  }
  for_tasks(tasks, team, [this](int64_t task) { run_task(task); });
}

Jobs& no_jobs() {
  thread_local Jobs jobs;
  jobs.clear();
  return jobs;
}

const float* bias_of(const Product& product) {
  SLUICE_CHECK(
      product.bias.empty() || static_cast<int64_t>(product.bias.size()) == product.w->out(),
      "one bias an output");
  return product.bias.empty() ? nullptr : product.bias.data();
}

// The rows of a gated unit's last product. Weights used as they are stored want them made first, in
// place of the gate.
Input gated_input(const Matrix& w, Gate activation, float* gate, const float* up, int64_t n,
                  ThreadTeam& team) {
  const auto& matrix = static_cast<const WeightMatrix&>(w);
  const OpTable& table = ops(matrix.isa());
  const auto activate = activation == Gate::kSilu ? table.silu_mul : table.gelu_mul;
  if (matrix.is_repacked()) return {.x = gate, .up = up, .activate = activate};
  const int64_t in = matrix.in();
  const int64_t rows = std::max<int64_t>(1, kPackAlone / in);
  team.parallel_for(n, rows, [&](int64_t begin, int64_t end) {
    activate(gate + begin * in, up + begin * in, (end - begin) * in, gate + begin * in);
  });
  return {.x = gate};
}

}  // namespace

void matmul(const Matrix& w, const float* x, int64_t n, float* y, std::span<const float> bias,
            ThreadTeam& team) {
  matmul_each({{{.w = &w, .y = y, .bias = bias}}}, x, n, team);
}

void matmul_each(std::span<const Product> products, const float* x, int64_t n, ThreadTeam& team) {
  Jobs& jobs = no_jobs();
  for (const Product& p : products) {
    jobs.add(*p.w, {.x = x, .y = p.y, .ids = nullptr, .bias = bias_of(p), .n = n}, 0);
  }
  jobs.run({.x = x}, team);
}

void matmul_gated(const Product& product, Gate activation, float* gate, const float* up, int64_t n,
                  ThreadTeam& team) {
  Jobs& jobs = no_jobs();
  const Input input = gated_input(*product.w, activation, gate, up, n, team);
  jobs.add(*product.w,
           {.x = gate, .y = product.y, .ids = nullptr, .bias = bias_of(product), .n = n}, 0);
  jobs.run(input, team);
}

void matmul_routed(std::span<const ExpertProduct> products, const float* x,
                   const RoutedRows& routed, ThreadTeam& team) {
  Jobs& jobs = no_jobs();
  for (size_t e = 0; e + 1 < routed.first.size(); ++e) {
    const size_t group = jobs.size();
    const int64_t first = routed.first[e], n = routed.first[e + 1] - first;
    for (const ExpertProduct& p : products) {
      const Matrix& w = *p.experts[e];
      jobs.add(w,
               {.x = x,
                .y = p.y + first * w.out(),
                .ids = routed.rows.data() + first,
                .bias = nullptr,
                .n = n},
               group);
    }
  }
  jobs.run({.x = x}, team);
}

void matmul_gated_routed(const ExpertProduct& product, Gate activation, float* gate,
                         const float* up, std::span<const int32_t> first, ThreadTeam& team) {
  Jobs& jobs = no_jobs();
  const Input input = gated_input(*product.experts[0], activation, gate, up, first.back(), team);
  for (size_t e = 0; e + 1 < first.size(); ++e) {
    const Matrix& w = *product.experts[e];
    jobs.add(w,
             {.x = gate + first[e] * w.in(),
              .y = product.y + first[e] * w.out(),
              .ids = nullptr,
              .bias = nullptr,
              .n = first[e + 1] - first[e]},
             jobs.size());
  }
  jobs.run(input, team);
}

}  // namespace sluice::kernels
