// Cutting attention into tasks: some query rows of one sequence × one KV head × a range of the
// partitions they see. How it is cut changes what is read twice, never a result.
#include <algorithm>
#include <atomic>
#include <vector>

#include "base/check.h"
#include "kernels/op_table.h"

namespace sluice::kernels {
namespace {

// Queries of a task: enough to pay for bringing a partition of K and V into the second-level cache,
// and whole tiles of 12 or 14 for groups of 2, 4, 6 and 7 heads.
constexpr int kQueriesPerTask = 84;
// So few rows share a task however many heads a group has: they read K and V once.
constexpr int kRowsTogether = 8;
// Slices of so few rows are cut along their positions too, as their rows alone are too few tasks.
constexpr int kRowsToSplit = 32;
constexpr int kPartsPerTask = 2;
// 64 MiB of parts. Beyond it there are slices enough to keep a team busy.
constexpr int64_t kMostPartFloats = int64_t{16} << 20;
// Multiply-adds that are done sooner alone than by a team.
constexpr int64_t kAloneMultiplies = 100'000;
// Positions in common that are worth being read together.
constexpr int kSharedPositions = kPartitionPositions / 2;
// Bundles for each thread: fewer, and one would wait for another's last.
constexpr int kBundlesOfThread = 4;

// One slice's tasks: numbered by rows, latest first as these are the longest; then KV head, then
// range of partitions.
struct Plan {
  int64_t first_task;
  int rows_per_task;
  int row_tasks;
  int part_tasks;
  AttentionParts parts;  // data is set once all plans are known
  int64_t first_float;   // of the parts
  int64_t first_count;   // of the counters: one a KV head and row task
};

struct PartRange {
  int begin;
  int end;
};

int divide_up(int a, int b) { return (a + b - 1) / b; }

PartRange partitions_of(const AttentionShape& shape, const AttentionSlice& slice, int row_begin,
                        int row_end) {
  const int begin = visible_positions(shape, slice.first_position + row_begin).begin;
  const int end = visible_positions(shape, slice.first_position + row_end - 1).end;
  return {begin / kPartitionPositions, (end + kPartitionPositions - 1) / kPartitionPositions};
}

// What the caller's thread keeps between calls, so that a step allocates nothing.
struct Plans {
  std::vector<Plan> plans;
  std::vector<float> parts;
  std::vector<int32_t> done;  // tasks that left their parts
  int64_t tasks = 0;
  int64_t multiplies = 0;

  // Bundles of tasks that run one after the other on one thread: bundle i is order[bundles[i]] to
  // order[bundles[i + 1]]. Without any, a task is one by itself.
  std::vector<int64_t> order;
  std::vector<int64_t> bundles;

  void make(const AttentionShape& shape, std::span<const AttentionSlice> slices, bool may_split);
  void bundle(const AttentionShape& shape, const KvLayer& kv,
              std::span<const AttentionSlice> slices, int threads);

 private:
  bool find_shared(const KvLayer& kv, std::span<const AttentionSlice> slices);
  bool shares(const AttentionShape& shape, const AttentionSlice& slice, size_t i, int range) const;
  void add_to_bundle(int64_t task, int64_t most);

  // Of each slice: the first one that begins with the same blocks, and for how many positions.
  std::vector<size_t> leader_;
  std::vector<int> shared_;
};

void Plans::make(const AttentionShape& shape, std::span<const AttentionSlice> slices,
                 bool may_split) {
  const int group = shape.heads / shape.kv_heads;
  plans.clear();
  tasks = multiplies = 0;
  int64_t floats = 0, counts = 0;
  for (const AttentionSlice& slice : slices) {
    const PartRange all = partitions_of(shape, slice, 0, slice.rows);
    const int most_rows = std::max(kRowsTogether, kQueriesPerTask / group);
    const int rows = divide_up(slice.rows, divide_up(slice.rows, most_rows));
    Plan plan{.first_task = tasks,
              .rows_per_task = rows,
              .row_tasks = divide_up(slice.rows, rows),
              .part_tasks = 1,
              .parts = {nullptr, all.begin, all.end - all.begin},
              .first_float = floats,
              .first_count = counts};
    const int64_t own = int64_t{slice.rows} * shape.heads * plan.parts.count *
                        AttentionParts::part_floats(shape.head_dim);
    if (may_split && slice.rows <= kRowsToSplit && plan.parts.count > kPartsPerTask &&
        floats + own <= kMostPartFloats) {
      plan.part_tasks = divide_up(plan.parts.count, kPartsPerTask);
      floats += own;
      counts += int64_t{shape.kv_heads} * plan.row_tasks;
    }
    tasks += int64_t{plan.row_tasks} * shape.kv_heads * plan.part_tasks;
    multiplies += int64_t{2} * slice.rows * (slice.first_position + slice.rows) * shape.heads *
                  shape.head_dim;
    plans.push_back(plan);
  }
  if (std::ssize(parts) < floats) parts.resize(static_cast<size_t>(floats));
  done.assign(static_cast<size_t>(counts), 0);
}

// False when no slice reads what another one reads.
bool Plans::find_shared(const KvLayer& kv, std::span<const AttentionSlice> slices) {
  leader_.resize(slices.size());
  shared_.assign(slices.size(), 0);
  bool found = false;
  for (size_t i = 0; i < slices.size(); ++i) {
    leader_[i] = i;
    // Chunks of prompts have work enough for what they read.
    if (slices[i].rows > kRowsTogether) continue;
    const std::span<const int32_t> own = slices[i].blocks;
    for (size_t j = 0; j < i; ++j) {
      const std::span<const int32_t> other = slices[j].blocks;
      if (leader_[j] != j || slices[j].rows > kRowsTogether || other[0] != own[0]) continue;
      const auto differs = std::ranges::mismatch(own, other).in1;
      const auto shared = static_cast<int>(differs - own.begin()) * kv.block_size;
      if (shared < kSharedPositions) continue;
      leader_[i] = j;
      shared_[i] = shared;
      found = true;
      break;
    }
  }
  return found;
}

// Whether most of what a slice reads in a range of its partitions is read by its leader, too.
bool Plans::shares(const AttentionShape& shape, const AttentionSlice& slice, size_t i,
                   int range) const {
  const Plan& plan = plans[i];
  const int seen = visible_positions(shape, slice.first_position + slice.rows - 1).end;
  const int each = plan.part_tasks == 1 ? plan.parts.count : kPartsPerTask;
  const int begin = (plan.parts.first + range * each) * kPartitionPositions;
  return shared_[i] >= (begin + std::min(begin + each * kPartitionPositions, seen)) / 2;
}

void Plans::add_to_bundle(int64_t task, int64_t most) {
  if (std::ssize(order) - bundles.back() >= most) bundles.push_back(std::ssize(order));
  order.push_back(task);
}

// Sequences with a prefix in common read the same K and V: their tasks over the same positions run
// one after the other, the first from memory and the others from the second-level cache.
void Plans::bundle(const AttentionShape& shape, const KvLayer& kv,
                   std::span<const AttentionSlice> slices, int threads) {
  order.clear();
  bundles.assign(1, 0);
  if (slices.size() < 2 || multiplies < kAloneMultiplies || !find_shared(kv, slices)) return;
  const int64_t most = std::max<int64_t>(1, tasks / (int64_t{kBundlesOfThread} * threads));
  const auto close = [this] {
    if (bundles.back() < std::ssize(order)) bundles.push_back(std::ssize(order));
  };
  for (size_t first = 0; first < slices.size(); ++first) {
    if (leader_[first] != first) continue;
    const Plan& plan = plans[first];
    const int64_t heads_and_ranges = int64_t{shape.kv_heads} * plan.part_tasks;
    for (int64_t local = 0; local < plan.row_tasks * heads_and_ranges; ++local) {
      close();
      add_to_bundle(plan.first_task + local, most);
      const auto range = static_cast<int>(local % plan.part_tasks);
      const int64_t head = local / plan.part_tasks;
      for (size_t i = first + 1; i < slices.size(); ++i) {
        if (leader_[i] != first || range >= plans[i].part_tasks) continue;
        if (!shares(shape, slices[i], i, range)) continue;
        add_to_bundle(plans[i].first_task + head * plans[i].part_tasks + range, most);
      }
    }
  }
  // What followers read alone.
  for (size_t i = 0; i < slices.size(); ++i) {
    if (leader_[i] == i) continue;
    const Plan& plan = plans[i];
    for (int64_t local = 0; local < int64_t{shape.kv_heads} * plan.part_tasks; ++local) {
      const auto range = static_cast<int>(local % plan.part_tasks);
      if (range < plans[leader_[i]].part_tasks && shares(shape, slices[i], i, range)) continue;
      close();
      add_to_bundle(plan.first_task + local, most);
    }
  }
  close();
}

}  // namespace

void attention(Isa isa, const AttentionShape& shape, const KvLayer& kv,
               std::span<const AttentionSlice> slices, ThreadTeam& team) {
  SLUICE_CHECK(shape.kv_heads > 0 && shape.heads % shape.kv_heads == 0,
               "query heads divide evenly over KV heads");
  SLUICE_CHECK(shape.kv_heads == kv.kv_heads && shape.head_dim == kv.head_dim,
               "the cache has the model's shape");
  const OpTable& table = ops(isa);
  thread_local Plans of_this_thread;
  Plans& all = of_this_thread;
  all.make(shape, slices, table.merge_attention != nullptr);
  const int group = shape.heads / shape.kv_heads;
  const auto run_task = [&](int64_t task) {
    const auto after =
        std::upper_bound(all.plans.begin(), all.plans.end(), task,
                         [](int64_t t, const Plan& plan) { return t < plan.first_task; });
    const Plan& plan = *(after - 1);
    const AttentionSlice& slice = slices[static_cast<size_t>(&plan - all.plans.data())];
    const int64_t local = task - plan.first_task;
    const auto range = static_cast<int>(local % plan.part_tasks);
    const auto head = static_cast<int>(local / plan.part_tasks % shape.kv_heads);
    const auto tile = static_cast<int>(local / plan.part_tasks / shape.kv_heads);
    const int row = (plan.row_tasks - 1 - tile) * plan.rows_per_task;
    const int row_end = std::min(row + plan.rows_per_task, slice.rows);
    const PartRange seen = partitions_of(shape, slice, row, row_end);
    AttentionTask t{&shape, &kv, &slice, head, row, row_end, seen.begin, seen.end, nullptr};
    if (plan.part_tasks == 1) return table.attention(t);
    AttentionParts parts = plan.parts;
    parts.data = all.parts.data() + plan.first_float +
                 int64_t{head} * slice.rows * group * parts.count *
                     AttentionParts::part_floats(shape.head_dim);
    t.parts = &parts;
    t.part_begin = seen.begin + range * kPartsPerTask;
    t.part_end = std::min(t.part_begin + kPartsPerTask, seen.end);
    // The slice's earlier rows may see a partition less than its last.
    if (t.part_begin < t.part_end) table.attention(t);
    // Who comes last merges: it sees what the others left.
    const int64_t counter = plan.first_count + int64_t{tile} * shape.kv_heads + head;
    std::atomic_ref<int32_t> done(all.done[static_cast<size_t>(counter)]);
    if (done.fetch_add(1, std::memory_order_acq_rel) + 1 < plan.part_tasks) return;
    t.part_begin = seen.begin;
    t.part_end = seen.end;
    table.merge_attention(t);
  };
  all.bundle(shape, kv, slices, team.size());
  if (!all.order.empty()) {
    return team.parallel_for(std::ssize(all.bundles) - 1, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = all.bundles[size_t(begin)]; i < all.bundles[size_t(end)]; ++i) {
        run_task(all.order[size_t(i)]);
      }
    });
  }
  const int64_t chunk = all.multiplies < kAloneMultiplies ? std::max<int64_t>(1, all.tasks) : 1;
  team.parallel_for(all.tasks, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end; ++task) run_task(task);
  });
}

void write_kv(Isa isa, const KvLayer& kv, std::span<const int32_t> blocks, int first_position,
              int rows, const float* k, const float* v) {
  const OpTable& table = ops(isa);
  for (int row = 0; row < rows; ++row) {
    const int position = first_position + row;
    const int32_t block = blocks[static_cast<size_t>(position / kv.block_size)];
    for (int head = 0; head < kv.kv_heads; ++head, k += kv.head_dim, v += kv.head_dim) {
      table.store_kv(kv.element, k, v, kv.head_dim,
                     kv_row(kv, block, head, position % kv.block_size));
    }
  }
}

}  // namespace sluice::kernels
