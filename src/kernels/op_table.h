// What one instruction set implements. The drivers (matmul.cc, attention.cc, ops.cc) cut an op into
// tasks and call these; a task's result never depends on how the op was cut.
//
// All functions may run on any thread; they allocate nothing but a thread's own scratch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/ops.h"

namespace sluice::kernels {

// The weights of a product: rows of `row_bytes` bytes as the file stores them.
struct WeightRows {
  tensor::DType dtype;
  const std::byte* data;
  int64_t row_bytes;
  int64_t out;
  int64_t in;
};

// The rows of a product. Row i is x + row(i) * in and goes to y + i * out.
struct MatmulRows {
  const float* x;
  float* y;
  const int32_t* ids;  // null: row(i) = i
  const float* bias;   // null or [out]
  int64_t n;

  int64_t row(int64_t i) const { return ids == nullptr ? i : ids[i]; }
};

// Attention goes through the positions of a sequence in partitions of this many, counted from
// position 0. What a query makes of a partition depends on nothing outside it; a query's partitions
// are merged in ascending order.
inline constexpr int kPartitionPositions = 512;

// The positions [begin, end) that the query at `position` sees.
struct PositionSpan {
  int begin;
  int end;
};

constexpr PositionSpan visible_positions(const AttentionShape& shape, int position) {
  const bool all = shape.window <= 0 || position < shape.window;
  return {all ? 0 : position - shape.window + 1, position + 1};
}

// Where the tasks of one slice leave what each query made of each partition, for one of them to
// merge. A part is part_floats() floats: its sums, then at the end its largest score and the sum of
// its weights.
struct AttentionParts {
  float* data = nullptr;  // [rows, heads of a group, count] parts
  int first = 0;          // the partition of the first part
  int count = 0;

  static constexpr int64_t part_floats(int head_dim) { return (head_dim + 15) / 16 * 16 + 16; }
};

// Query rows [row_begin, row_end) of one slice, all query heads that share `kv_head`, over
// partitions [part_begin, part_end). With `parts` they are left there, else they are all that the
// rows see and the result goes to slice->out.
struct AttentionTask {
  const AttentionShape* shape;
  const KvLayer* kv;
  const AttentionSlice* slice;
  int kv_head;
  int row_begin;
  int row_end;
  int part_begin;
  int part_end;
  const AttentionParts* parts;
};

struct OpTable {
  void (*attention)(const AttentionTask& task);
  // The parts of all partitions that the task's rows see to slice->out. Null: tasks are never given
  // parts.
  void (*merge_attention)(const AttentionTask& task);
  // Stores K and V of one head at one position.
  void (*store_kv)(KvElement element, const float* k, const float* v, int head_dim,
                   const KvRow& at);
  void (*rms_norm)(const float* x, int64_t n, int64_t width, const float* weight, float eps,
                   float* out);
  void (*rope_neighbours)(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                          const float* sin);
  void (*rope_halves)(float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                      const float* sin);
  void (*silu_mul)(const float* gate, const float* up, int64_t count, float* out);
  void (*gelu_mul)(const float* gate, const float* up, int64_t count, float* out);
  void (*add)(float* x, const float* y, int64_t count);
  void (*add_scaled)(float* x, const float* y, float s, int64_t count);
  void (*softcap)(float* x, int64_t count, float cap);
  void (*softmax)(float* x, int64_t n, int64_t width);
};

// The reference's product, columns [begin, end) of it, with weights as they are stored; the others
// multiply panels (panels.h).
void reference_matmul(const WeightRows& w, const MatmulRows& rows, int64_t begin, int64_t end);

// The table of a supported ISA; asking for an unsupported one is a bug.
const OpTable& ops(Isa isa);

const OpTable& reference_ops();
const OpTable& avx2_ops();
const OpTable& avx512_ops();
const OpTable& avx512_bf16_ops();
const OpTable& neon_ops();

}  // namespace sluice::kernels
