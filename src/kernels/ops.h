// The ops of a forward pass. One table per instruction set; ops(isa) gives it.
//
// Shapes: n rows, row-major float32 activations unless said. Every op is deterministic, and a row's
// result is bit-equal whatever n is, whatever other rows hold, and whatever the team's size:
// reductions run in an order fixed by the row's own length.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "kernels/isa.h"
#include "kernels/kv_layout.h"
#include "tensor/view.h"

namespace sluice::kernels {

// A weight matrix {out, in} as the kernels of one ISA want it: the file's bytes or a repacked copy.
// Immutable after preparation; shared by threads.
class Matrix {
 public:
  virtual ~Matrix() = default;
  virtual int64_t out() const = 0;
  virtual int64_t in() const = 0;
  virtual tensor::DType dtype() const = 0;
  // Whether the stored bytes are not needed any more; otherwise the view must outlive the matrix.
  virtual bool is_repacked() const = 0;
  // The repacked bytes; empty where the stored ones serve.
  virtual std::span<const std::byte> repacked() const = 0;
};

// Any of the supported dtypes; `view` is {out, in}.
Result<std::unique_ptr<Matrix>> prepare_matrix(const tensor::TensorView& view, Isa isa,
                                               ThreadTeam& team);

// The same without the work: `repacked` are the bytes that preparing this matrix gave before,
// repacked_bytes() of them at a multiple of kRepackedAlignment. They outlive the matrix.
Result<std::unique_ptr<Matrix>> adopt_matrix(const tensor::TensorView& view, Isa isa,
                                             std::span<const std::byte> repacked);
inline constexpr int64_t kRepackedAlignment = 64;

// Memory that preparing such a matrix takes; 0 where the stored bytes serve.
int64_t repacked_bytes(tensor::DType dtype, int64_t out, int64_t in, Isa isa);

// Whether products with such a matrix round their rows, to int8 or BF16, before they multiply.
bool rounds_rows(tensor::DType dtype, Isa isa);

// y[n, out] = x[n, in] · wᵀ (+ bias[out] when not empty).
void matmul(const Matrix& w, const float* x, int64_t n, float* y, std::span<const float> bias,
            ThreadTeam& team);

// One of several products of the same rows.
struct Product {
  const Matrix* w;
  float* y;
  std::span<const float> bias;
};
inline constexpr size_t kMostProducts = 4;

// At most kMostProducts products of x, whose matrices have the same `in`, each as matmul() gives
// it.
void matmul_each(std::span<const Product> products, const float* x, int64_t n, ThreadTeam& team);

// The activation of a gated unit.
enum class Gate { kSilu, kGelu };

// As matmul() with x = activation(gate) * up, [n, in] each. What `gate` holds afterwards is open.
void matmul_gated(const Product& product, Gate activation, float* gate, const float* up, int64_t n,
                  ThreadTeam& team);

// A gated unit: down of activation(gate x) * up x. The y of gate and up, [n, gate.w->out()] each,
// is room for weights that are used as they are stored; what it holds afterwards is open.
struct GatedProducts {
  Product gate;
  Product up;
  Product down;
};

// As matmul_each() with gate and up, then matmul_gated() with down, bit for bit.
void matmul_unit(const GatedProducts& unit, Gate activation, const float* x, int64_t n,
                 ThreadTeam& team);

// The rows that each expert of a mixture gets: entries [first[e], first[e + 1]) are expert e's, and
// entry i is row rows[i] of x. A row may have any number of entries.
struct RoutedRows {
  std::span<const int32_t> first;  // [experts + 1], from 0 to the number of entries
  std::span<const int32_t> rows;
};

// A product with the weights of the expert that an entry belongs to; y[entries, out].
struct ExpertProduct {
  std::span<const std::unique_ptr<Matrix>> experts;  // of one tensor
  float* y;
};

// All experts' products at once: whatever the routing, the team is called as often as for one.
// Each entry's result is what matmul() gives for its row.
void matmul_routed(std::span<const ExpertProduct> products, const float* x,
                   const RoutedRows& routed, ThreadTeam& team);

// The same with x = activation(gate) * up of the entry, as matmul_gated(); `first` as above.
void matmul_gated_routed(const ExpertProduct& product, Gate activation, float* gate,
                         const float* up, std::span<const int32_t> first, ThreadTeam& team);

// The units of a mixture's experts, and what matmul_unit() gives for each entry's row.
struct GatedExperts {
  ExpertProduct gate;
  ExpertProduct up;
  ExpertProduct down;
};
void matmul_unit_routed(const GatedExperts& unit, Gate activation, const float* x,
                        const RoutedRows& routed, ThreadTeam& team);

// out[n, cols] = rows `ids` of an embedding matrix of any dtype, times scale.
void embed_rows(const tensor::TensorView& table, std::span<const int32_t> ids, float scale,
                float* out);

// Any dtype to float32 (small tensors: norms, biases, router weights; tests).
Result<std::vector<float>> to_float(const tensor::TensorView& view);

struct AttentionShape {
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;
  float scale = 1.0f;
  float softcap = 0.0f;  // 0 = none: otherwise softcap * tanh(score / softcap)
  int window = 0;  // 0 = all earlier positions, else the last `window`, the query's own included
};

// One sequence's rows in a batch, as attention sees them.
struct AttentionSlice {
  const float* q = nullptr;  // [rows, heads, head_dim], already rotated
  float* out = nullptr;      // [rows, heads, head_dim]
  int rows = 0;
  int first_position = 0;
  std::span<const int32_t> blocks;
};

// out = softmax(scale · q · Kᵀ) V over the sequence's own blocks; K and V of all positions up to
// each query's own are read back from the cache in its storage type. Partitions by position only.
void attention(Isa isa, const AttentionShape& shape, const KvLayer& kv,
               std::span<const AttentionSlice> slices, ThreadTeam& team);

// Stores K and V ([rows, kv_heads, head_dim] each) of consecutive positions into the sequence's
// blocks.
void write_kv(Isa isa, const KvLayer& kv, std::span<const int32_t> blocks, int first_position,
              int rows, const float* k, const float* v);

// out[n, width] = x / rms(x) * weight. In place allowed. Without a team: on the calling thread.
void rms_norm(Isa isa, const float* x, int64_t n, int64_t width, std::span<const float> weight,
              float eps, float* out);
void rms_norm(Isa isa, const float* x, int64_t n, int64_t width, std::span<const float> weight,
              float eps, float* out, ThreadTeam& team);

// x[n, heads, head_dim] rotated in place by the row's angles. cos/sin: [n, dim/2] for the rows'
// positions.
void rope_neighbours(Isa isa, float* x, int64_t n, int heads, int head_dim, int dim,
                     const float* cos, const float* sin);
void rope_halves(Isa isa, float* x, int64_t n, int heads, int head_dim, int dim, const float* cos,
                 const float* sin);

// out = activation(gate) * up, elementwise over `count`. In place on gate allowed.
void silu_mul(Isa isa, const float* gate, const float* up, int64_t count, float* out,
              ThreadTeam& team);
void gelu_mul(Isa isa, const float* gate, const float* up, int64_t count, float* out,
              ThreadTeam& team);

void add(Isa isa, float* x, const float* y, int64_t count);                  // x += y
void add_scaled(Isa isa, float* x, const float* y, float s, int64_t count);  // x += s·y
void softcap(Isa isa, float* x, int64_t count, float cap);
// Softmax of each row of [n, width] in place.
void softmax(Isa isa, float* x, int64_t n, int64_t width);

}  // namespace sluice::kernels
