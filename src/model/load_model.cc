#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "model/architectures.h"
#include "model/model.h"

namespace sluice::model {
namespace {

struct Family {
  std::string_view name;
  std::unique_ptr<Decoder> (*load)(Loader&);
};

constexpr std::array kFamilies = {
    Family{"gemma2", gemma2}, Family{"gemma3", gemma3},     Family{"llama", llama},
    Family{"phi3", phi3},     Family{"qwen2", qwen2},       Family{"qwen2moe", qwen2moe},
    Family{"qwen3", qwen3},   Family{"qwen3moe", qwen3moe},
};

constexpr auto kNames = [] {
  std::array<std::string_view, kFamilies.size()> names;
  for (size_t i = 0; i < names.size(); ++i) names[i] = kFamilies[i].name;
  return names;
}();

Outcome check_rope(const formats::ModelConfig& c) {
  const formats::RopeConfig& rope = c.rope;
  if (rope.dim < 2 || rope.dim % 2 != 0 || rope.dim > c.head_dim) {
    return invalid(
        fmt::format("rope rotates {} of {} dimensions of a head; expected an even "
                    "number of at least 2, at most all",
                    rope.dim, c.head_dim));
  }
  const auto fits = [&](const std::vector<float>& divisors) {
    return divisors.size() == static_cast<size_t>(rope.dim) / 2 &&
           std::ranges::all_of(divisors, [](float d) { return d > 0.0f; });
  };
  const bool longrope = rope.scaling == formats::RopeScaling::kLongRope;
  if ((longrope && !(fits(rope.short_factors) && fits(rope.long_factors))) ||
      (!rope.freq_divisors.empty() && !fits(rope.freq_divisors))) {
    return invalid(fmt::format("rope factors: expected {} positive ones", rope.dim / 2));
  }
  if (!(rope.factor > 0.0f) || !(rope.theta > 1.0f)) {
    return invalid(
        fmt::format("rope has theta {} and factor {}; expected a theta above 1 and a "
                    "positive factor",
                    rope.theta, rope.factor));
  }
  return {};
}

// What the forward pass relies on; readers promise it, whoever fills a configuration by hand learns
// it here.
Outcome check(const formats::ModelConfig& c, const ModelOptions& options) {
  if (std::min({c.layers, c.width, c.heads, c.kv_heads, c.head_dim, c.vocab, c.context}) < 1 ||
      c.heads % c.kv_heads != 0) {
    return invalid(fmt::format(
        "the model has {} layers, width {}, {} heads in {} groups of size {}, {} tokens and "
        "context {}; expected positive numbers, and heads divisible by groups",
        c.layers, c.width, c.heads, c.kv_heads, c.head_dim, c.vocab, c.context));
  }
  const formats::MoeConfig& moe = c.moe;
  if (moe.experts > 0 ? moe.used < 1 || moe.used > moe.experts || moe.ffn < 1 : c.ffn < 1) {
    return invalid(
        fmt::format("the feed-forward network has width {}, or {} of {} experts of "
                    "width {}; expected positive numbers",
                    c.ffn, moe.used, moe.experts, moe.ffn));
  }
  if (!c.window_layers.empty() &&
      (c.window_layers.size() != static_cast<size_t>(c.layers) || c.sliding_window < 1)) {
    return invalid(
        fmt::format("a window of {} is set for {} layers of {}; expected a positive "
                    "window and a setting for each layer",
                    c.sliding_window, c.window_layers.size(), c.layers));
  }
  if (options.block_size < 1 || options.kv_blocks < 1 || options.max_batch_rows < 1) {
    return invalid(
        fmt::format("{} KV blocks of {} positions and batches of {} rows; expected "
                    "positive numbers",
                    options.kv_blocks, options.block_size, options.max_batch_rows));
  }
  return check_rope(c);
}

}  // namespace

std::span<const std::string_view> architectures() { return kNames; }

int64_t weight_memory_bytes(const formats::ModelSource& source, kernels::Isa isa) {
  int64_t bytes = 0;
  for (const auto& [name, view] : source.tensors()) {
    if (name == "token_embd.weight" && !source.config().tied_embeddings) continue;
    const int64_t repacked =
        view.shape.size() < 2 ? 0
                              : kernels::repacked_bytes(view.dtype, view.rows(), view.cols(), isa);
    bytes += repacked > 0 ? repacked : std::ssize(view.bytes);
  }
  return bytes;
}

int64_t parameter_count(const formats::ModelSource& source) {
  int64_t count = 0;
  for (const auto& [name, view] : source.tensors()) {
    if (!name.starts_with("rope_")) count += view.elements();
  }
  return count;
}

Result<std::unique_ptr<Model>> load_model(const formats::ModelSource& source,
                                          const ModelOptions& options, ThreadTeam& team,
                                          WeightsCache* cache) {
  const std::string& name = source.config().architecture;
  const auto family = std::ranges::find(kFamilies, std::string_view(name), &Family::name);
  if (family == kFamilies.end()) {
    return fail(Code::kUnimplemented, fmt::format("architecture \"{}\" is not supported; known: {}",
                                                  name, fmt::join(kNames, ", ")));
  }
  SLUICE_RETURN_IF_ERROR(check(source.config(), options));
  Loader load(source, options, team, cache);
  std::unique_ptr<Decoder> decoder = family->load(load);
  SLUICE_RETURN_IF_ERROR(load.finish());
  SLUICE_RETURN_IF_ERROR(decoder->allocate());
  return decoder;
}

}  // namespace sluice::model
