// Golden distributions of one model, as tools/parity/make_golden.mjs writes them. Format:
// README.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/status.h"

namespace sluice::parity {

// One of the likeliest tokens at a position.
struct Likely {
  int32_t token = 0;
  float logprob = 0.0f;
};

struct Golden {
  std::string model;
  std::string kind;    // format of the matrices: "F32", "Q4_K"
  std::string sha256;  // of the model file that it was made from
  int vocab = 0;
  int context = 0;
  int top = 0;
  float step = 0.0f;   // log-probabilities are whole multiples of it
  float floor = 0.0f;  // and this one stands for it and all below
  int full_every = 0;
  std::vector<Likely> likely;   // [positions of all prompts, top], likeliest first
  std::vector<float> full;      // [every full_every-th position, vocab] log-probabilities
  std::vector<int32_t> greedy;  // F32 only: continuation of the first prompt's first 8 tokens
};

Result<Golden> read_golden(const std::filesystem::path& path);

Result<std::vector<std::vector<int32_t>>> read_prompts(const std::filesystem::path& path);

}  // namespace sluice::parity
