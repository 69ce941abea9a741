// Workspace: every buffer that a forward pass uses, allocated once for the largest batch.
// Step: what the blocks of a model see of the pass under way.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <memory>
#include <span>
#include <vector>

#include "base/thread_team.h"
#include "formats/model_config.h"
#include "kernels/ops.h"
#include "model/batch.h"
#include "model/kv_cache.h"
#include "model/rope.h"

namespace sluice::model {

// Floats on a 64-byte boundary. Fresh memory is not touched: what is never used costs nothing.
class FloatBuffer {
 public:
  FloatBuffer() = default;
  explicit FloatBuffer(int64_t count);
  float* get() const { return data_.get(); }

 private:
  struct Free {
    void operator()(float* p) const { std::free(p); }
  };
  std::unique_ptr<float[], Free> data_;
};

// cos and sin for the rows of a step, [rows, half] each.
struct RopeAngles {
  FloatBuffer cos;
  FloatBuffer sin;
};

// Which of the two rotations a layer uses.
enum class RopeKind { kGlobal, kLocal };

// Which experts the rows of a step go to. An entry is a row at an expert.
struct Routing {
  struct Choice {
    int32_t entry;  // negative: none
    float weight;
  };
  std::vector<int32_t> first;  // kernels::RoutedRows
  std::vector<int32_t> rows;
  std::vector<int32_t> batch_first;  // the same of experts that run together
  std::vector<Choice> choices;       // [rows, experts used], a row's ascending by expert
};

// Experts run together until they have this many entries, so that what they make of them is still
// in the caches when it is used. One expert may have more.
inline constexpr int64_t kRoutedEntries = 512;

struct Workspace {
  Workspace(const formats::ModelConfig& config, int max_rows);

  FloatBuffer residual;  // [rows, width]: the stream that every layer adds to
  FloatBuffer normed;    // [rows, width]: its norm, the input of a sublayer
  FloatBuffer output;    // [rows, width]: a sublayer's output
  FloatBuffer q;         // [rows, heads * head_dim]
  FloatBuffer k;         // [rows, kv_heads * head_dim]
  FloatBuffer v;         // the same
  FloatBuffer mixed;     // [rows, heads * head_dim]: what attention gathered
  FloatBuffer gate;      // [rows, feed-forward], of experts [entries, feed-forward]
  FloatBuffer up;        // the same
  FloatBuffer router;    // [rows, experts]
  FloatBuffer expert;    // [entries, width]: the experts' outputs
  RopeAngles angles[2];  // by RopeKind
  int width = 0;         // the model's
  std::vector<int32_t> row_position;
  std::vector<int32_t> row_slice;  // the slice that a row belongs to
  Routing routing;
  std::vector<kernels::AttentionSlice> slices;
};

struct Step {
  const Batch& batch;
  const KvCache& kv;
  Workspace& work;
  kernels::Isa isa;
  ThreadTeam& team;
  int64_t rows = 0;  // rows in residual: the batch's, in the end the output rows only
};

// Calls fn(first, count) over the rows in pieces, on the whole team. Only for work in which rows do
// not depend on one another. Pieces are groups of K in the cache unless said: two threads that fill
// one would take its lines from each other.
template <typename Fn>
void for_rows(const Step& step, Fn&& fn, int64_t rows_per_piece = kernels::kKvGroup) {
  const auto piece = [&fn](int64_t begin, int64_t end) { fn(begin, end - begin); };
  step.team.parallel_for(step.rows, rows_per_piece, piece);
}

}  // namespace sluice::model
