// Preparing a matrix and cutting products into tasks: columns first, then blocks of rows; never the
// reduction.
#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "base/check.h"
#include "kernels/op_table.h"
#include "kernels/panels.h"
#include "kernels/scratch.h"

namespace sluice::kernels {
namespace {

using tensor::TensorView;

// Memory of whole pages, in large ones where the system has them.
class PageBuffer {
 public:
  PageBuffer() = default;
  explicit PageBuffer(size_t bytes) : bytes_(bytes) {
    void* p = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (p == MAP_FAILED) return;
    data_ = static_cast<std::byte*>(p);
    ::madvise(p, bytes, MADV_HUGEPAGE);
  }
  PageBuffer(PageBuffer&& other) noexcept { *this = std::move(other); }
  PageBuffer& operator=(PageBuffer&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~PageBuffer() {
    if (data_ != nullptr) ::munmap(data_, bytes_);
  }
  std::byte* get() const { return data_; }
  std::span<const std::byte> bytes() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

// Weights as the file has them, or panels: of its own or of somebody who outlives it.
class WeightMatrix final : public Matrix {
 public:
  WeightMatrix(const WeightRows& rows, Isa isa) : isa_(isa), rows_(rows) {}
  WeightMatrix(const WeightRows& rows, Isa isa, const PanelTable& table, PageBuffer panels)
      : WeightMatrix(rows, isa, table, panels.bytes()) {
    owned_ = std::move(panels);
  }
  WeightMatrix(const WeightRows& rows, Isa isa, const PanelTable& table,
               std::span<const std::byte> panels)
      : isa_(isa), rows_(rows), table_(&table), panels_(panels) {
    rows_.data = nullptr;
  }

  int64_t out() const override { return rows_.out; }
  int64_t in() const override { return rows_.in; }
  tensor::DType dtype() const override { return rows_.dtype; }
  bool is_repacked() const override { return table_ != nullptr; }
  std::span<const std::byte> repacked() const override { return panels_; }
  Isa isa() const { return isa_; }
  const WeightRows& rows() const { return rows_; }
  const PanelTable& table() const { return *table_; }
  PanelWeights panels() const {
    return {.dtype = rows_.dtype,
            .data = panels_.data(),
            .out = rows_.out,
            .in = rows_.in,
            .panel_bytes = panel_bytes(rows_.dtype, rows_.in)};
  }

 private:
  Isa isa_;
  WeightRows rows_;
  const PanelTable* table_ = nullptr;
  std::span<const std::byte> panels_;
  PageBuffer owned_;
};

// What a matrix is cut into.
struct Cut {
  int64_t rows_per_task;  // or tiles of packed rows
  int64_t row_tasks;
  int64_t cols_per_task;  // or panels
  int64_t col_tasks;
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
constexpr int64_t kPanelTaskBytes = 64 << 10;
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

// Below this many elements the caller packs rows alone: waking the team would take longer.
constexpr int64_t kPackAlone = 8192;

// The rows of a product: x, or activation(gate) * up where `up` is not null and x is the gate.
struct Input {
  const float* up = nullptr;
  void (*activate)(const float* gate, const float* up, int64_t count, float* out) = nullptr;
};

// Packs the rows for panels of one kind; `data` has room for them.
PackedRows pack_rows(const PanelTable& table, RowKind kind, int64_t in, const MatmulRows& rows,
                     const Input& input, std::byte* data, ThreadTeam& team) {
  const int64_t block_bytes = row_block_bytes(kind);
  const PackedRows packed = {.data = data,
                             .tiles = RowTiles::of(rows.n, table.of(kind).tile_rows),
                             .row_bytes = row_blocks(in) * block_bytes};
  const int64_t chunk = rows.n * in <= kPackAlone ? rows.n : 1;
  team.parallel_for(rows.n, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t tile = packed.tiles.of_row(row);
      const int64_t first = packed.tiles.first(tile);
      std::byte* out = data + first * packed.row_bytes + (row - first) * block_bytes;
      const int64_t at = rows.row(row) * in;
      const float* x = rows.x + at;
      if (input.up != nullptr) {
        // Not in place: the gate's cache lines need not go back to memory.
        float* activated = thread_scratch(static_cast<size_t>(in));
        input.activate(x, input.up + at, in, activated);
        x = activated;
      }
      table.of(kind).pack_row(x, in, out, packed.tiles.height(tile) * block_bytes);
    }
  });
  return packed;
}

// The products under way, and the rows as their kinds of panels want them.
struct Plan {
  std::array<const WeightMatrix*, kMostProducts> matrices;
  std::array<MatmulRows, kMostProducts> rows;
  std::array<Cut, kMostProducts> cuts;
  std::array<int64_t, kMostProducts + 1> first_task;
  std::array<PackedRows, 2> packed;  // by RowKind

  const PackedRows& packed_for(const WeightMatrix& m) const {
    return packed[static_cast<size_t>(row_kind(m.dtype()))];
  }
};

void pack_all(Plan& plan, size_t count, const Input& input, ThreadTeam& team) {
  const MatmulRows& rows = plan.rows[0];
  const int64_t in = plan.matrices[0]->in();
  const PanelTable* tables[2] = {};
  size_t bytes[2] = {};
  for (size_t i = 0; i < count; ++i) {
    const WeightMatrix& m = *plan.matrices[i];
    if (!m.is_repacked()) continue;
    const RowKind kind = row_kind(m.dtype());
    tables[static_cast<size_t>(kind)] = &m.table();
    bytes[static_cast<size_t>(kind)] =
        static_cast<size_t>(rows.n * row_blocks(in) * row_block_bytes(kind));
  }
  std::byte* data = shared_scratch(bytes[0] + bytes[1]);
  for (const RowKind kind : {RowKind::kInt8, RowKind::kBf16}) {
    const auto k = static_cast<size_t>(kind);
    if (tables[k] == nullptr) continue;
    plan.packed[k] = pack_rows(*tables[k], kind, in, rows, input, data, team);
    data += bytes[k];
  }
}

void run(std::span<const Product> products, const float* x, const int32_t* ids, int64_t n,
         const Input& input, ThreadTeam& team) {
  const size_t count = products.size();
  SLUICE_CHECK(count >= 1 && count <= kMostProducts, "as many products as one call takes");
  if (n == 0) return;
  Plan plan = {};
  for (size_t i = 0; i < count; ++i) {
    const Product& p = products[i];
    SLUICE_CHECK(p.bias.empty() || static_cast<int64_t>(p.bias.size()) == p.w->out(),
                 "one bias an output");
    SLUICE_CHECK(p.w->in() == products[0].w->in(), "the products share their rows");
    plan.matrices[i] = static_cast<const WeightMatrix*>(p.w);
    plan.rows[i] = {
        .x = x, .y = p.y, .ids = ids, .bias = p.bias.empty() ? nullptr : p.bias.data(), .n = n};
  }
  pack_all(plan, count, input, team);
  for (size_t i = 0; i < count; ++i) {
    const WeightMatrix& m = *plan.matrices[i];
    const Cut cut =
        m.is_repacked() ? cut_panels(m.panels(), plan.packed_for(m)) : cut_stored(m.rows(), n);
    plan.cuts[i] = cut;
    plan.first_task[i + 1] = plan.first_task[i] + cut.row_tasks * cut.col_tasks;
  }
  for_tasks(plan.first_task[count], team, [&](int64_t task) {
    size_t i = 0;
    while (task >= plan.first_task[i + 1]) ++i;
    const WeightMatrix& m = *plan.matrices[i];
    const int64_t own = task - plan.first_task[i];
    if (m.is_repacked()) {
      run_panels(m, plan.packed_for(m), plan.rows[i], plan.cuts[i], own);
    } else {
      run_stored(m, plan.rows[i], plan.cuts[i], own);
    }
  });
}

Outcome check(const TensorView& view, Isa isa) {
  if (!isa_supported(isa)) {
    return fail(Code::kFailedPrecondition,
                fmt::format("this processor does not support {} (supported best: {})",
                            isa_name(isa), isa_name(best_isa())));
  }
  if (view.shape.size() != 2) {
    return invalid(fmt::format("a weight matrix has 2 dimensions, found {}", view.shape.size()));
  }
  const tensor::DTypeInfo& info = tensor::dtype_info(view.dtype);
  if (view.shape[0] < 1 || view.shape[1] < 1 || view.shape[1] % info.block_elements != 0) {
    return invalid(fmt::format("a {} matrix has rows of a multiple of {} elements, found {} x {}",
                               info.name, info.block_elements, view.shape[0], view.shape[1]));
  }
  SLUICE_CHECK(static_cast<int64_t>(view.bytes.size()) == view.rows() * view.row_bytes(),
               "a view holds exactly its tensor");
  return {};
}

void run_gated(const Product& product, Gate activation, float* gate, const float* up,
               const int32_t* ids, int64_t n, ThreadTeam& team) {
  const auto& matrix = *static_cast<const WeightMatrix*>(product.w);
  const OpTable& table = ops(matrix.isa());
  Input input = {.up = up, .activate = activation == Gate::kSilu ? table.silu_mul : table.gelu_mul};
  if (!matrix.is_repacked()) {
    const int64_t in = matrix.in();
    const int64_t rows = std::max<int64_t>(1, kPackAlone / in);
    team.parallel_for(n, rows, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        float* row = gate + (ids == nullptr ? i : ids[i]) * in;
        input.activate(row, up + (row - gate), in, row);
      }
    });
    input = {};
  }
  run({&product, 1}, gate, ids, n, input, team);
}

// The panels that weights of a type are repacked into; nullptr where they are used as stored.
const PanelTable* panels_for(tensor::DType dtype, Isa isa) {
  const PanelTable* table = panel_table(isa);
  const bool packs = table != nullptr && panel_layout(dtype).blocks > 0 &&
                     table->of(row_kind(dtype)).multiply != nullptr;
  return packs ? table : nullptr;
}

WeightRows stored_rows(const TensorView& view) {
  return {view.dtype, view.bytes.data(), view.row_bytes(), view.shape[0], view.shape[1]};
}

}  // namespace

int64_t repacked_bytes(tensor::DType dtype, int64_t out, int64_t in, Isa isa) {
  if (panels_for(dtype, isa) == nullptr) return 0;
  return divide_up(out, kPanelColumns) * panel_bytes(dtype, in);
}

Result<std::unique_ptr<Matrix>> prepare_matrix(const TensorView& view, Isa isa, ThreadTeam& team) {
  SLUICE_RETURN_IF_ERROR(check(view, isa));
  const WeightRows rows = stored_rows(view);
  const PanelTable* table = panels_for(view.dtype, isa);
  if (table == nullptr) return std::make_unique<WeightMatrix>(rows, isa);
  const int64_t bytes = panel_bytes(rows.dtype, rows.in);
  const int64_t panels = divide_up(rows.out, kPanelColumns);
  const int64_t total = repacked_bytes(rows.dtype, rows.out, rows.in, isa);
  PageBuffer buffer(static_cast<size_t>(total));
  if (buffer.get() == nullptr) {
    return fail(Code::kResourceExhausted,
                fmt::format("no memory for {} bytes of repacked weights", total));
  }
  team.parallel_for(panels, 1, [&](int64_t begin, int64_t end) {
    for (int64_t p = begin; p < end; ++p) pack_panel(rows, p, buffer.get() + p * bytes);
  });
  return std::make_unique<WeightMatrix>(rows, isa, *table, std::move(buffer));
}

Result<std::unique_ptr<Matrix>> adopt_matrix(const TensorView& view, Isa isa,
                                             std::span<const std::byte> repacked) {
  SLUICE_RETURN_IF_ERROR(check(view, isa));
  const WeightRows rows = stored_rows(view);
  const PanelTable* table = panels_for(view.dtype, isa);
  const int64_t expected = repacked_bytes(rows.dtype, rows.out, rows.in, isa);
  if (table == nullptr || std::ssize(repacked) != expected) {
    return invalid(fmt::format("a {} matrix of {} x {} has {} repacked bytes for {}, found {}",
                               tensor::dtype_info(rows.dtype).name, rows.out, rows.in, expected,
                               isa_name(isa), repacked.size()));
  }
  SLUICE_CHECK(reinterpret_cast<uintptr_t>(repacked.data()) % kRepackedAlignment == 0,
               "repacked weights are aligned");
  return std::make_unique<WeightMatrix>(rows, isa, *table, repacked);
}

void matmul(const Matrix& w, const float* x, int64_t n, float* y, std::span<const float> bias,
            ThreadTeam& team) {
  matmul_each({{{.w = &w, .y = y, .bias = bias}}}, x, n, team);
}

void matmul_each(std::span<const Product> products, const float* x, int64_t n, ThreadTeam& team) {
  run(products, x, nullptr, n, {}, team);
}

void matmul_rows(std::span<const Product> products, const float* x, std::span<const int32_t> rows,
                 ThreadTeam& team) {
  run(products, x, rows.data(), static_cast<int64_t>(rows.size()), {}, team);
}

void matmul_gated(const Product& product, Gate activation, float* gate, const float* up, int64_t n,
                  ThreadTeam& team) {
  run_gated(product, activation, gate, up, nullptr, n, team);
}

void matmul_gated_rows(const Product& product, Gate activation, float* gate, const float* up,
                       std::span<const int32_t> rows, ThreadTeam& team) {
  run_gated(product, activation, gate, up, rows.data(), static_cast<int64_t>(rows.size()), team);
}

}  // namespace sluice::kernels
