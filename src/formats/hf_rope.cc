#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "formats/hf_config.h"
#include "formats/printable.h"

namespace sluice::formats {
namespace {

constexpr size_t kMaxFactors = 1 << 12;

float default_theta(std::string_view hf_class, std::string_view architecture) {
  const bool million = architecture == "gemma3" || hf_class == "MixtralForCausalLM";
  return million ? 1e6f : 1e4f;
}

float magnitude(float factor, float weight) {
  return factor <= 1.0f ? 1.0f : 0.1f * weight * std::log(factor) + 1.0f;
}

void read_yarn(JsonFields& f, RopeConfig& rope) {
  rope.scaling = RopeScaling::kYarn;
  rope.beta_fast = f.number("beta_fast").value_or(32.0f);
  rope.beta_slow = f.number("beta_slow").value_or(1.0f);
  rope.attention_factor = f.number("attention_factor").value_or(0.0f);
  const auto mscale = f.number("mscale");
  const auto mscale_all = f.number("mscale_all_dim");
  if (rope.attention_factor == 0.0f && mscale && mscale_all && *mscale_all != 0.0f) {
    rope.attention_factor = magnitude(rope.factor, *mscale) / magnitude(rope.factor, *mscale_all);
  }
  if (!f.boolean("truncate").value_or(true)) f.refuse("truncate", "false is not supported");
}

void read_longrope(JsonFields& f, RopeConfig& rope, int context) {
  rope.scaling = RopeScaling::kLongRope;
  rope.short_factors = f.numbers("short_factor", kMaxFactors);
  rope.long_factors = f.numbers("long_factor", kMaxFactors);
  for (const std::string_view key : {"short_mscale", "long_mscale"}) {
    if (f.has(key)) f.refuse(key, "is not supported");
  }
  const auto original = static_cast<float>(std::max(rope.original_context, 1));
  rope.factor = static_cast<float>(context) / original;
  float derived = 1.0f;
  if (rope.factor > 1.0f && original > 1.0f) {
    derived = std::sqrt(1.0f + std::log(rope.factor) / std::log(original));
  }
  rope.attention_factor = f.number("attention_factor").value_or(derived);
}

// `f` reads rope_scaling or rope_parameters.
void read_scaling(JsonFields& f, int original_context, ModelConfig& c) {
  RopeConfig& rope = c.rope;
  const std::string type = f.text("rope_type").value_or(f.text("type").value_or("default"));
  rope.original_context =
      f.integer("original_max_position_embeddings", kContextRange).value_or(original_context);
  if (type == "default") return;
  rope.factor = f.number("factor").value_or(1.0f);
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
    // The stated length is the unscaled one, save for gemma3.
    if (c.architecture != "gemma3") {
      const double scaled = static_cast<double>(c.context) * std::max(rope.factor, 1.0f);
      c.context = static_cast<int>(std::min<double>(scaled, kContextRange.high));
    }
  } else if (type == "yarn") {
    read_yarn(f, rope);
    const double scaled = static_cast<double>(rope.original_context) * std::max(rope.factor, 1.0f);
    c.context = static_cast<int>(std::min<double>(scaled, kContextRange.high));
  } else if (type == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
    rope.low_freq_factor = f.number("low_freq_factor").value_or(1.0f);
    rope.high_freq_factor = f.number("high_freq_factor").value_or(4.0f);
  } else if (type == "longrope" || type == "su") {
    read_longrope(f, rope, c.context);
  } else {
    f.refuse(Status(Code::kUnimplemented,
                    fmt::format("rope scaling \"{}\" is not supported; supported are default, "
                                "linear, yarn, llama3 and longrope",
                                printable(type))));
  }
}

void read_partial(JsonFields& f, ModelConfig& c) {
  const auto part = f.number("partial_rotary_factor");
  if (!part) return;
  if (!(*part > 0.0f && *part <= 1.0f)) {
    return f.refuse("partial_rotary_factor",
                    fmt::format("a number above 0 and up to 1 expected; found {}", *part));
  }
  c.rope.dim = static_cast<int>(static_cast<float>(c.head_dim) * *part);
}

// One set of parameters: rope_scaling, rope_parameters or one layer type's share of the latter.
void read_object(JsonFields& outer, const json::object& object, std::string where,
                 int original_context, ModelConfig& c) {
  JsonFields f(object, std::move(where));
  c.rope.theta = f.number("rope_theta").value_or(c.rope.theta);
  read_partial(f, c);
  read_scaling(f, original_context, c);
  if (const Outcome ok = f.outcome(); !ok) outer.refuse(ok.error());
}

// transformers 5 writes rope_parameters, for gemma3 one object for each type of layer.
void read_parameters(JsonFields& f, const json::object& object, int original_context,
                     ModelConfig& c) {
  JsonFields types(object, "rope_parameters.");
  const json::object* full = types.object("full_attention");
  const json::object* sliding = types.object("sliding_attention");
  if (const Outcome ok = types.outcome(); !ok) return f.refuse(ok.error());
  if (full == nullptr) {
    return read_object(f, object, "rope_parameters.", original_context, c);
  }
  read_object(f, *full, "rope_parameters.full_attention.", original_context, c);
  if (sliding == nullptr) return;
  JsonFields local(*sliding, "rope_parameters.sliding_attention.");
  const float theta = local.number("rope_theta").value_or(c.rope.theta);
  if (local.text("rope_type").value_or("default") != "default") {
    local.refuse("rope_type", "default is expected");
  }
  if (const Outcome ok = local.outcome(); !ok) return f.refuse(ok.error());
  if (c.architecture == "gemma3") {
    c.local_rope_theta = theta;
  } else if (theta != c.rope.theta) {
    f.refuse("rope_parameters", "layers of different rope bases are supported for gemma3 only");
  }
}

}  // namespace

void read_hf_rope(JsonFields& f, std::string_view hf_class, ModelConfig& c) {
  c.rope.style = RopeStyle::kHalves;
  c.rope.dim = c.head_dim;
  c.rope.theta = f.number("rope_theta").value_or(default_theta(hf_class, c.architecture));
  if (c.architecture == "gemma3") {
    c.local_rope_theta = f.number("rope_local_base_freq").value_or(1e4f);
  }
  read_partial(f, c);
  const int original =
      f.integer("original_max_position_embeddings", kContextRange).value_or(c.context);
  const json::object* parameters = f.object("rope_parameters");
  const json::object* scaling = f.object("rope_scaling");
  if (parameters != nullptr) {
    read_parameters(f, *parameters, original, c);
  } else if (scaling != nullptr) {
    read_object(f, *scaling, "rope_scaling.", original, c);
  }
}

}  // namespace sluice::formats
