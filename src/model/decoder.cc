#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "base/check.h"

namespace sluice::model {
namespace {

int longest(const formats::ModelConfig& config, const ModelOptions& options) {
  return options.max_context > 0 ? options.max_context : config.context;
}

// The windowed layers' rotation is plain, whatever stretches the others.
std::optional<Rope> local_rope(const formats::ModelConfig& config) {
  if (config.local_rope_theta <= 0.0f) return std::nullopt;
  formats::RopeConfig plain;
  plain.style = config.rope.style;
  plain.theta = config.local_rope_theta;
  plain.dim = config.rope.dim;
  return Rope(plain, config.context, config.context);
}

std::unique_ptr<kernels::Matrix> output_matrix(Loader& load) {
  const formats::ModelConfig& c = load.config();
  return load.matrix(c.tied_embeddings ? "token_embd.weight" : "output.weight", c.vocab, c.width);
}

}  // namespace

Norm Norm::load(Loader& load, const std::string& name) {
  return {.weight = load.vector(name, load.config().width), .eps = load.config().norm_eps};
}

Norm Norm::load(Loader& load, int layer, std::string_view part) {
  return Norm::load(load, layer_tensor(layer, part));
}

void Norm::run(Step& step, const float* x, float* out) const {
  kernels::rms_norm(step.isa, x, step.rows, static_cast<int64_t>(weight.size()), weight, eps, out,
                    step.team);
}

void add_to_residual(Step& step) {
  const auto width = static_cast<int64_t>(step.work.width);
  for_rows(step, [&](int64_t first, int64_t count) {
    kernels::add(step.isa, step.work.residual.get() + first * width,
                 step.work.output.get() + first * width, count * width);
  });
}

Decoder::Decoder(Loader& load)
    : config_(load.config()),
      options_(load.options()),
      team_(load.team()),
      embedding_(load.table("token_embd.weight", config_.vocab, config_.width)),
      output_norm_(Norm::load(load, "output_norm.weight")),
      output_(output_matrix(load)),
      rope_(config_.rope, config_.context, longest(config_, options_)),
      local_rope_(local_rope(config_)),
      work_(config_, options_.max_batch_rows) {}

Outcome Decoder::allocate() {
  SLUICE_ASSIGN_OR_RETURN(kv_, KvCache::create(config_, options_));
  return {};
}

void Decoder::forward(const Batch& batch, std::span<float> logits) {
  check(batch, logits);
  if (batch.tokens.empty()) return;
  Step step = begin(batch);
  kernels::embed_rows(embedding_, batch.tokens, config_.embedding_scale, work_.residual.get());
  for (int layer = 0; layer < config_.layers; ++layer) {
    attend(layer, step);
    // Past the last layer's attention no row looks at another: only those asked for go on.
    if (layer == config_.layers - 1) keep_output_rows(step);
    if (step.rows > 0) feed(layer, step);
  }
  if (step.rows > 0) write_logits(step, logits);
}

void Decoder::check(const Batch& batch, std::span<float> logits) const {
  const auto rows = static_cast<int64_t>(batch.tokens.size());
  SLUICE_CHECK(rows <= options_.max_batch_rows, "a batch has at most max_batch_rows rows");
  SLUICE_CHECK(logits.size() == batch.output_rows.size() * static_cast<size_t>(config_.vocab),
               "one row of logits per output row");
  for (const int32_t token : batch.tokens) {
    SLUICE_CHECK(token >= 0 && token < config_.vocab, "tokens are in the vocabulary");
  }
  int64_t next = 0;
  for (const SequenceSlice& slice : batch.slices) {
    SLUICE_CHECK(slice.first_row == next && slice.rows > 0, "slices cover the rows in order");
    next += slice.rows;
    const int64_t end = int64_t{slice.first_position} + slice.rows;
    SLUICE_CHECK(slice.first_position >= 0 && std::ssize(slice.blocks) * options_.block_size >= end,
                 "a sequence has blocks for all its positions");
    for (const int32_t block : slice.blocks) {
      SLUICE_CHECK(block >= 0 && block < options_.kv_blocks, "blocks are in the cache");
    }
  }
  SLUICE_CHECK(next == rows, "slices cover all rows");
  int64_t last = -1;
  for (const int32_t row : batch.output_rows) {
    SLUICE_CHECK(row > last && row < rows, "output rows ascend and are in the batch");
    last = row;
  }
}

Step Decoder::begin(const Batch& batch) {
  work_.row_position.clear();
  work_.row_slice.clear();
  work_.slices.clear();
  const int64_t q_width = int64_t{config_.heads} * config_.head_dim;
  for (size_t s = 0; s < batch.slices.size(); ++s) {
    const SequenceSlice& slice = batch.slices[s];
    work_.slices.push_back({.q = work_.q.get() + slice.first_row * q_width,
                            .out = work_.mixed.get() + slice.first_row * q_width,
                            .rows = slice.rows,
                            .first_position = slice.first_position,
                            .blocks = slice.blocks});
    for (int r = 0; r < slice.rows; ++r) {
      work_.row_position.push_back(slice.first_position + r);
      work_.row_slice.push_back(static_cast<int32_t>(s));
    }
  }
  Step step{.batch = batch,
            .kv = kv_,
            .work = work_,
            .isa = options_.isa,
            .team = team_,
            .rows = static_cast<int64_t>(batch.tokens.size())};
  fill_angles(step);
  return step;
}

void Decoder::fill_angles(const Step& step) {
  const auto fill = [&](const Rope& rope, RopeKind kind) {
    const RopeAngles& angles = work_.angles[static_cast<size_t>(kind)];
    for_rows(step, [&](int64_t first, int64_t count) {
      for (int64_t row = first; row < first + count; ++row) {
        rope.angles(work_.row_position[static_cast<size_t>(row)],
                    angles.cos.get() + row * rope.half(), angles.sin.get() + row * rope.half());
      }
    });
  };
  fill(rope_, RopeKind::kGlobal);
  if (local_rope_) fill(*local_rope_, RopeKind::kLocal);
}

void Decoder::keep_output_rows(Step& step) const {
  float* residual = work_.residual.get();
  const auto width = static_cast<int64_t>(config_.width);
  int64_t kept = 0;
  for (const int64_t row : step.batch.output_rows) {
    if (row != kept) std::copy_n(residual + row * width, width, residual + kept * width);
    ++kept;
  }
  step.rows = kept;
}

void Decoder::write_logits(Step& step, std::span<float> logits) const {
  output_norm_.run(step, step.work.residual.get(), step.work.normed.get());
  kernels::matmul(*output_, step.work.normed.get(), step.rows, logits.data(), {}, team_);
  if (config_.final_softcap > 0.0f) {
    for_rows(step, [&](int64_t first, int64_t count) {
      kernels::softcap(step.isa, logits.data() + first * config_.vocab, count * config_.vocab,
                       config_.final_softcap);
    });
  }
}

}  // namespace sluice::model
