#include "model/workspace.h"

#include <algorithm>

#include "base/check.h"

namespace sluice::model {

FloatBuffer::FloatBuffer(int64_t count) {
  constexpr size_t kAlignment = 64;
  const size_t bytes = static_cast<size_t>(std::max<int64_t>(count, 1)) * sizeof(float);
  const size_t rounded = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  data_.reset(static_cast<float*>(std::aligned_alloc(kAlignment, rounded)));
  SLUICE_CHECK(data_ != nullptr, "out of memory for the forward pass");
}

Workspace::Workspace(const formats::ModelConfig& config, int max_rows) {
  const int64_t rows = max_rows;
  const int64_t q_width = int64_t{config.heads} * config.head_dim;
  const int64_t kv_width = int64_t{config.kv_heads} * config.head_dim;
  const bool mixture = config.moe.experts > 0;
  const int64_t entries = std::max(rows, kRoutedEntries);
  const int64_t hidden = mixture ? std::max(entries * config.moe.ffn, rows * config.moe.shared_ffn)
                                 : rows * config.ffn;
  width = config.width;
  residual = FloatBuffer(rows * config.width);
  normed = FloatBuffer(rows * config.width);
  output = FloatBuffer(rows * config.width);
  q = FloatBuffer(rows * q_width);
  k = FloatBuffer(rows * kv_width);
  v = FloatBuffer(rows * kv_width);
  mixed = FloatBuffer(rows * q_width);
  gate = FloatBuffer(hidden);
  up = FloatBuffer(hidden);
  if (mixture) {
    router = FloatBuffer(rows * config.moe.experts);
    expert = FloatBuffer(entries * config.width);
    routing.first.resize(static_cast<size_t>(config.moe.experts) + 1);
    routing.batch_first.reserve(routing.first.size());
    routing.rows.resize(static_cast<size_t>(rows * config.moe.used));
    routing.choices.resize(routing.rows.size());
  }
  for (RopeAngles& a : angles) {
    a.cos = FloatBuffer(rows * config.rope.dim / 2);
    a.sin = FloatBuffer(rows * config.rope.dim / 2);
  }
  row_position.reserve(static_cast<size_t>(rows));
  row_slice.reserve(static_cast<size_t>(rows));
  slices.reserve(static_cast<size_t>(rows));
}

}  // namespace sluice::model
