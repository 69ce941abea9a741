// A model whose matrices are its own, as F32, each value off by a small random share: what rounding
// activations does to every product, done to the other factor.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "formats/model_source.h"
#include "golden.h"

namespace sluice::parity {

// Relative rounding error (root mean square) of the activations that the golden file's engine
// multiplies with the matrix `name` of type `dtype`. README.md derives the numbers.
double activation_error(const formats::ModelConfig& config, std::string_view name,
                        tensor::DType dtype);

// `base` must outlive this. `scale` times that error.
class PerturbedSource final : public formats::ModelSource {
 public:
  PerturbedSource(const formats::ModelSource& base, uint64_t seed, double scale = 1.0);

  const formats::ModelConfig& config() const override { return base_.config(); }
  const formats::TokenizerSource& tokenizer() const override { return base_.tokenizer(); }
  const formats::GenerationDefaults& generation() const override { return base_.generation(); }
  const std::string& chat_template() const override { return base_.chat_template(); }
  const tensor::TensorView* find(std::string_view name) const override {
    const auto it = tensors_.find(name);
    return it == tensors_.end() ? nullptr : &it->second;
  }
  const std::map<std::string, tensor::TensorView, std::less<>>& tensors() const override {
    return tensors_;
  }
  const std::vector<formats::MetadataEntry>& metadata() const override { return base_.metadata(); }
  std::string_view format() const override { return "perturbed"; }
  uint64_t file_bytes() const override { return base_.file_bytes(); }
  uint64_t weights_digest() const override { return base_.weights_digest(); }

 private:
  const formats::ModelSource& base_;
  std::vector<std::vector<float>> values_;
  std::map<std::string, tensor::TensorView, std::less<>> tensors_;
};

}  // namespace sluice::parity
