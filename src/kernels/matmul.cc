// Preparing a matrix and cutting a product into tasks: columns first, then blocks of rows; never
// the reduction.
#include <fmt/format.h>

#include <algorithm>

#include "base/check.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

using tensor::TensorView;

// The bytes of the file as they are. A repacked layout would be another class beside this one.
class PlainMatrix final : public Matrix {
 public:
  PlainMatrix(const TensorView& view, Isa isa)
      : isa_(isa),
        rows_{view.dtype, view.bytes.data(), view.row_bytes(), view.shape[0], view.shape[1]} {}

  int64_t out() const override { return rows_.out; }
  int64_t in() const override { return rows_.in; }
  tensor::DType dtype() const override { return rows_.dtype; }
  Isa isa() const { return isa_; }
  const WeightRows& rows() const { return rows_; }

 private:
  Isa isa_;
  WeightRows rows_;
};

// A task has at least this many multiplications, so that handing it out costs little beside it.
constexpr int64_t kTaskWork = int64_t{1} << 16;
// Rows of a task: their activations stay in the second-level cache while columns pass by.
constexpr int64_t kRowBlock = 96;
// Columns of a task: a multiple of every kernel's panel.
constexpr int64_t kColumnStep = 32;
constexpr int64_t kMostColumns = 256;

int64_t columns_per_task(const WeightRows& w, int64_t rows) {
  const int64_t work_per_column = std::max<int64_t>(1, w.in * std::min(rows, kRowBlock));
  const int64_t wanted = kTaskWork / work_per_column / kColumnStep * kColumnStep;
  return std::clamp(wanted, kColumnStep, kMostColumns);
}

void run(const Matrix& matrix, const MatmulRows& rows, ThreadTeam& team) {
  const auto& plain = static_cast<const PlainMatrix&>(matrix);
  const WeightRows& w = plain.rows();
  if (rows.n == 0) return;
  const OpTable& table = ops(plain.isa());
  const int64_t columns = columns_per_task(w, rows.n);
  const int64_t panels = (w.out + columns - 1) / columns;
  const int64_t blocks = (rows.n + kRowBlock - 1) / kRowBlock;
  team.parallel_for(panels * blocks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) {
      const int64_t row = task / panels * kRowBlock;
      const int64_t col = task % panels * columns;
      table.matmul(w, rows,
                   {.row_begin = row,
                    .row_end = std::min(row + kRowBlock, rows.n),
                    .col_begin = col,
                    .col_end = std::min(col + columns, w.out)});
    }
  });
}

}  // namespace

Result<std::unique_ptr<Matrix>> prepare_matrix(const TensorView& view, Isa isa, ThreadTeam&) {
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
  return std::make_unique<PlainMatrix>(view, isa);
}

void matmul(const Matrix& w, const float* x, int64_t n, float* y, std::span<const float> bias,
            ThreadTeam& team) {
  SLUICE_CHECK(bias.empty() || static_cast<int64_t>(bias.size()) == w.out(), "one bias an output");
  run(w, {.x = x, .y = y, .ids = nullptr, .bias = bias.empty() ? nullptr : bias.data(), .n = n},
      team);
}

void matmul_rows(const Matrix& w, const float* x, std::span<const int32_t> rows, float* y,
                 ThreadTeam& team) {
  run(w,
      {.x = x, .y = y, .ids = rows.data(), .bias = nullptr, .n = static_cast<int64_t>(rows.size())},
      team);
}

}  // namespace sluice::kernels
