// ModelConfig: what a model file says about its architecture, whatever the file's format. Filled
// and validated by the readers (gguf.cc, hf_folder.cc); read by model/.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::formats {

enum class RopeStyle {
  kNeighbours,  // rotates (2i, 2i+1): GGUF's llama, whose q and k rows are permuted for it
  kHalves,      // rotates (i, i + dim/2): qwen, gemma, phi3, and every Hugging Face folder
};

enum class RopeScaling { kNone, kLinear, kYarn, kLlama3, kLongRope };

struct RopeConfig {
  RopeStyle style = RopeStyle::kHalves;
  float theta = 10000.0f;
  int dim = 0;  // rotated dimensions of a head; even, at most head_dim
  RopeScaling scaling = RopeScaling::kNone;
  float factor = 1.0f;
  int original_context = 0;      // YaRN, llama3, longrope
  float low_freq_factor = 1.0f;  // llama3
  float high_freq_factor = 4.0f;
  float attention_factor = 0.0f;  // YaRN and longrope: 0 = derived from `factor`
  float beta_fast = 32.0f;        // YaRN
  float beta_slow = 1.0f;
  // longrope: divisors per frequency below and above the original context (dim / 2 each).
  std::vector<float> short_factors;
  std::vector<float> long_factors;
  // GGUF's rope_freqs.weight: divisors per frequency, already resolved (llama3); empty = none.
  std::vector<float> freq_divisors;
};

enum class Activation { kSilu, kGeluTanh };

struct MoeConfig {
  int experts = 0;  // 0 = dense
  int used = 0;
  int ffn = 0;
  int shared_ffn = 0;           // qwen2moe's shared expert; 0 = none
  bool normalize_top_k = true;  // divide the chosen experts' weights by their sum
};

struct ModelConfig {
  std::string architecture;  // canonical: llama qwen2 qwen3 gemma2 gemma3 phi3 qwen2moe qwen3moe
  std::string name;
  int layers = 0;
  int width = 0;
  int heads = 0;
  int kv_heads = 0;
  int head_dim = 0;  // of q, k and v
  int ffn = 0;
  int vocab = 0;
  int context = 0;
  float norm_eps = 1e-5f;
  Activation activation = Activation::kSilu;
  RopeConfig rope;
  // Layers without a window attend to everything; with one, to the last `sliding_window` positions
  // (the query's own included). window_layers[i] tells for layer i; empty = no layer has one.
  int sliding_window = 0;
  std::vector<bool> window_layers;
  float local_rope_theta = 0.0f;   // gemma3: theta of the windowed layers, unscaled; 0 = as `rope`
  float attention_scale = 0.0f;    // 0 = 1/sqrt(head_dim)
  float attention_softcap = 0.0f;  // 0 = none
  float final_softcap = 0.0f;
  float embedding_scale = 1.0f;  // gemma: sqrt(width)
  bool tied_embeddings = false;  // the output matrix is the embedding matrix
  MoeConfig moe;
};

}  // namespace sluice::formats
