// What products share that are cut into tasks for the team: rows packed once for all panels that
// they multiply, how a matrix is cut, and the team's way through the tasks. Private to the room.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <vector>

#include "base/thread_team.h"
#include "kernels/op_table.h"
#include "kernels/weight_matrix.h"

namespace sluice::kernels {

// The activation of a gated unit as an op table has it.
using Activate = void (*)(const float* gate, const float* up, int64_t count, float* out);

inline int64_t tasks_for(int64_t items, int64_t per_task) {
  return (items + per_task - 1) / per_task;
}

// What a matrix is cut into.
struct Cut {
  int64_t rows_per_task;  // or tiles of packed rows
  int64_t row_tasks;
  int64_t cols_per_task;  // or panels
  int64_t col_tasks;

  int64_t tasks() const { return row_tasks * col_tasks; }
};

// Packed rows of a task stay in the second-level cache beside a panel.
inline constexpr int64_t kPackedBytes = 512 << 10;
// A task of panels reads about this many bytes of weights or does this many multiplications,
// whichever is less: some microseconds.
inline constexpr int64_t kPanelTaskBytes = 128 << 10;
inline constexpr int64_t kPanelTaskWork = int64_t{1} << 20;

Cut cut_panels(const PanelWeights& w, const PackedRows& packed);

// Where a task of panels begins to read weights.
const std::byte* first_weights(const PanelWeights& w, const Cut& cut, int64_t task);

// A task of a matrix of panels; `next` is PanelRange's.
void run_panels(const WeightMatrix& matrix, const PackedRows& packed, const MatmulRows& rows,
                const Cut& cut, int64_t task, const std::byte* next);

// Below this many elements the caller packs rows alone: waking the team would take longer.
inline constexpr int64_t kPackAlone = 8192;

// Where rows come from: x, or activation(gate) * up where `up` is not null and x is the gate.
struct RowInput {
  const float* x = nullptr;
  const float* up = nullptr;
  Activate activate = nullptr;
};

// Rows that some products share, as one kind of panel wants them.
struct Packing {
  const PanelOps* ops;
  int64_t in;
  MatmulRows rows;
  std::byte* data;  // where the packed rows lie
  PackedRows packed;
  int64_t first_row;  // rows of the packings before

  int64_t bytes() const { return rows.n * packed.row_bytes; }
  // Packs elements x[0 … count) as the row's elements from `begin` on, a multiple of 64; `count` is
  // one too unless the row ends there.
  void pack(const float* x, int64_t row, int64_t begin, int64_t count) const;
};

class Packings {
 public:
  void clear() { all_.clear(); }
  // For rows of as many elements as `w` has inputs, of the kind that it multiplies.
  size_t add(const WeightMatrix& w, const MatmulRows& rows);
  const Packing& operator[](size_t i) const { return all_[i]; }
  int64_t bytes() const;
  // Packed rows lie from `data` on, bytes() of them.
  void place(std::byte* data);
  void pack(const RowInput& input, ThreadTeam& team) const;

 private:
  void pack_row(const RowInput& input, int64_t number) const;

  std::vector<Packing> all_;
};

// Where in a list of things numbered by `first` the number `i` belongs.
template <typename T>
const T& find_by(const std::vector<T>& list, int64_t T::* first, int64_t i) {
  return *(std::upper_bound(list.begin(), list.end(), i,
                            [first](int64_t n, const T& item) { return n < item.*first; }) -
           1);
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

}  // namespace sluice::kernels
