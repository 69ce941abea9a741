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

// The rows of a product. Row i is x + row(i) * in and goes to y + row(i) * out.
struct MatmulRows {
  const float* x;
  float* y;
  const int32_t* ids;  // null: row(i) = i
  const float* bias;   // null or [out]
  int64_t n;

  int64_t row(int64_t i) const { return ids == nullptr ? i : ids[i]; }
};

// A rectangle of a product's result.
struct MatmulTile {
  int64_t row_begin;
  int64_t row_end;
  int64_t col_begin;
  int64_t col_end;
};

// Query rows [row_begin, row_end) of one slice, all query heads that share `kv_head`.
struct AttentionTask {
  const AttentionShape* shape;
  const KvLayer* kv;
  const AttentionSlice* slice;
  int kv_head;
  int row_begin;
  int row_end;
};

struct OpTable {
  void (*matmul)(const WeightRows& w, const MatmulRows& rows, const MatmulTile& tile);
  void (*attention)(const AttentionTask& task);
  // Stores one row of K or V of one head; `scale` is null unless the cache is int8.
  void (*store_kv)(KvElement element, const float* x, int head_dim, std::byte* row,
                   std::byte* scale);
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

// The table of a supported ISA; asking for an unsupported one is a bug.
const OpTable& ops(Isa isa);

const OpTable& reference_ops();
const OpTable& avx2_ops();
const OpTable& avx512_ops();

}  // namespace sluice::kernels
