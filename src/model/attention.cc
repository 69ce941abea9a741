#include "model/attention.h"

#include <cmath>

namespace sluice::model {

Attention::Attention(Loader& load, int layer, AttentionForm form) : layer_(layer) {
  const formats::ModelConfig& c = load.config();
  const bool windowed = !c.window_layers.empty() && c.window_layers[static_cast<size_t>(layer)];
  shape_ = {.heads = c.heads,
            .kv_heads = c.kv_heads,
            .head_dim = c.head_dim,
            .scale = c.attention_scale > 0.0f
                         ? c.attention_scale
                         : static_cast<float>(1.0 / std::sqrt(static_cast<double>(c.head_dim))),
            .softcap = c.attention_softcap,
            .window = windowed ? c.sliding_window : 0};
  rope_style_ = c.rope.style;
  rope_kind_ = windowed && c.local_rope_theta > 0.0f ? RopeKind::kLocal : RopeKind::kGlobal;
  rope_dim_ = c.rope.dim;
  norm_eps_ = c.norm_eps;

  const int64_t q_width = int64_t{c.heads} * c.head_dim;
  const int64_t kv_width = int64_t{c.kv_heads} * c.head_dim;
  if (form.fused_qkv && load.has(layer_tensor(layer, "attn_qkv"))) {
    const int64_t all = q_width + 2 * kv_width;
    q_ = load.linear_rows(layer, "attn_qkv", {all, 0, q_width}, c.width);
    k_ = load.linear_rows(layer, "attn_qkv", {all, q_width, kv_width}, c.width);
    v_ = load.linear_rows(layer, "attn_qkv", {all, q_width + kv_width, kv_width}, c.width);
  } else {
    q_ = load.linear(layer, "attn_q", q_width, c.width);
    k_ = load.linear(layer, "attn_k", kv_width, c.width);
    v_ = load.linear(layer, "attn_v", kv_width, c.width);
  }
  if (form.qkv_bias) {
    load.require(layer_tensor(layer, "attn_q", "bias"));
    load.require(layer_tensor(layer, "attn_k", "bias"));
    load.require(layer_tensor(layer, "attn_v", "bias"));
  }
  if (form.head_norms) {
    q_norm_ = load.vector(layer_tensor(layer, "attn_q_norm"), c.head_dim);
    k_norm_ = load.vector(layer_tensor(layer, "attn_k_norm"), c.head_dim);
  }
  output_ = load.linear(layer, "attn_output", c.width, q_width);
}

void Attention::run(Step& step) const {
  project(step);
  finish_and_store(step);
  kernels::attention(step.isa, shape_, step.kv.layer(layer_), step.work.slices, step.team);
  kernels::matmul(*output_.weight, step.work.mixed.get(), step.rows, step.work.output.get(),
                  output_.bias, step.team);
}

void Attention::project(Step& step) const {
  const float* x = step.work.normed.get();
  const kernels::Product all[] = {q_.into(step.work.q.get()), k_.into(step.work.k.get()),
                                  v_.into(step.work.v.get())};
  kernels::matmul_each(all, x, step.rows, step.team);
}

// Head norms, rotation and the cache in one pass over the rows.
void Attention::finish_and_store(Step& step) const {
  const auto rope = rope_style_ == formats::RopeStyle::kNeighbours ? kernels::rope_neighbours
                                                                   : kernels::rope_halves;
  const RopeAngles& angles = step.work.angles[static_cast<size_t>(rope_kind_)];
  const int64_t q_width = int64_t{shape_.heads} * shape_.head_dim;
  const int64_t kv_width = int64_t{shape_.kv_heads} * shape_.head_dim;
  const auto finish = [&](int64_t first, int64_t count) {
    const float* cos = angles.cos.get() + first * (rope_dim_ / 2);
    const float* sin = angles.sin.get() + first * (rope_dim_ / 2);
    float* q = step.work.q.get() + first * q_width;
    float* k = step.work.k.get() + first * kv_width;
    const float* v = step.work.v.get() + first * kv_width;
    if (!q_norm_.empty()) {
      kernels::rms_norm(step.isa, q, count * shape_.heads, shape_.head_dim, q_norm_, norm_eps_, q);
      kernels::rms_norm(step.isa, k, count * shape_.kv_heads, shape_.head_dim, k_norm_, norm_eps_,
                        k);
    }
    rope(step.isa, q, count, shape_.heads, shape_.head_dim, rope_dim_, cos, sin);
    rope(step.isa, k, count, shape_.kv_heads, shape_.head_dim, rope_dim_, cos, sin);
    for (int64_t i = 0; i < count; ++i) {
      const auto row = static_cast<size_t>(first + i);
      const auto slice = static_cast<size_t>(step.work.row_slice[row]);
      kernels::write_kv(step.isa, step.kv.layer(layer_), step.batch.slices[slice].blocks,
                        step.work.row_position[row], 1, k + i * kv_width, v + i * kv_width);
    }
  };
  // Rows that are sequences of their own share no line of the cache, and each has to wait for its
  // own.
  const bool are_alone = step.batch.slices.size() == step.batch.tokens.size();
  for_rows(step, finish, are_alone ? 1 : kernels::kKvGroup);
}

}  // namespace sluice::model
