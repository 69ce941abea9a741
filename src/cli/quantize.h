// `sluice quantize`: a GGUF file with smaller weights, written from another one.
#pragma once

#include <string>

namespace sluice::cli {

struct QuantizeOptions {
  std::string input;
  std::string output_file;
  std::string type;
  bool force = false;  // replace an existing output
  int threads = 0;
  std::string output = "text";
};

int run_quantize(const QuantizeOptions& options);

}  // namespace sluice::cli
