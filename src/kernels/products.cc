// Products of rows with matrices: packing the rows, cutting all of it into tasks for the team.
// Columns are cut first, then blocks of rows; never the reduction.
#include <algorithm>
#include <vector>

#include "base/check.h"
#include "kernels/op_table.h"
#include "kernels/row_packing.h"
#include "kernels/scratch.h"
#include "kernels/weight_matrix.h"

namespace sluice::kernels {
namespace {

// Columns of a task of stored weights, which takes all rows.
constexpr int64_t kColumnsPerTask = 32;

Cut cut_stored(const WeightRows& w, int64_t rows) {
  return {.rows_per_task = rows,
          .row_tasks = 1,
          .cols_per_task = kColumnsPerTask,
          .col_tasks = tasks_for(w.out, kColumnsPerTask)};
}

// One matrix and the rows that it multiplies.
struct Job {
  const WeightMatrix* matrix;
  MatmulRows rows;
  size_t packing;  // of a repacked matrix
  Cut cut;
  int64_t first_task;
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
  void run(const RowInput& input, ThreadTeam& team);

 private:
  size_t packing_of(const WeightMatrix& w, const MatmulRows& rows, size_t group);
  const std::byte* weights_after(const Job& job, int64_t own) const;
  void run_task(int64_t task) const;

  std::vector<Job> jobs_;
  Packings packings_;
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
  for (size_t i = group; i < jobs_.size(); ++i) {
    const Job& job = jobs_[i];
    if (!job.matrix->is_repacked()) continue;
    if (packings_[job.packing].ops == &w.panel_ops()) return job.packing;
  }
  return packings_.add(w, rows);
}

void run_stored(const WeightMatrix& matrix, const MatmulRows& rows, const Cut& cut, int64_t task) {
  const WeightRows& w = matrix.rows();
  const int64_t col = task * cut.cols_per_task;
  reference_matmul(w, rows, col, std::min(col + cut.cols_per_task, w.out));
}

// What the task after this one of the job's begins to read; null where that is unknown.
const std::byte* Jobs::weights_after(const Job& job, int64_t own) const {
  const bool is_last = own + 1 == job.cut.tasks();
  const Job* then = &job + (is_last ? 1 : 0);
  if (then == jobs_.data() + jobs_.size() || !then->matrix->is_repacked()) return nullptr;
  return first_weights(then->matrix->panels(), then->cut, is_last ? 0 : own + 1);
}

void Jobs::run_task(int64_t task) const {
  const Job& job = find_by(jobs_, &Job::first_task, task);
  const int64_t own = task - job.first_task;
  if (job.matrix->is_repacked()) {
    run_panels(*job.matrix, packings_[job.packing].packed, job.rows, job.cut, own,
               weights_after(job, own));
  } else {
    run_stored(*job.matrix, job.rows, job.cut, own);
  }
}

void Jobs::run(const RowInput& input, ThreadTeam& team) {
  packings_.place(shared_scratch(static_cast<size_t>(packings_.bytes())));
  packings_.pack(input, team);
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
RowInput gated_input(const Matrix& w, Gate activation, float* gate, const float* up, int64_t n,
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
  const RowInput input = gated_input(*product.w, activation, gate, up, n, team);
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
  const RowInput input = gated_input(*product.experts[0], activation, gate, up, first.back(), team);
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
