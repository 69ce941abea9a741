// `sluice inspect` and `sluice tokenize`: what is in a model file, and how it reads text.
#pragma once

#include <string>

namespace sluice::cli {

struct InspectOptions {
  std::string model;
  bool tensors = false;
  std::string output = "text";
};

struct TokenizeOptions {
  std::string model;
  std::string text;     // "-" or empty: standard input
  bool special = true;  // the tokenizer's own BOS and EOS, and special tokens in the text
  bool decode = false;  // ids in, text out
  std::string output = "text";
};

int run_inspect(const InspectOptions& options);
int run_tokenize(const TokenizeOptions& options);

}  // namespace sluice::cli
