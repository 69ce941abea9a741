#include "perturbed.h"

#include <cmath>

#include "base/check.h"
#include "base/rng.h"
#include "kernels/ops.h"

namespace sluice::parity {
namespace {

using tensor::DType;

constexpr double kSumError = 1e-6;       // F32 sums in another order
constexpr double kHalfError = 1.4e-4;    // F16: 11 bits
constexpr double kBrainError = 1.1e-3;   // BF16: 8 bits
constexpr double kBlock32Error = 5e-3;   // 8 bits a value, one scale for 32
constexpr double kBlock256Error = 7e-3;  // … for 256
constexpr double kTableGelu = 3e-4;      // GELU from a table of F16

}  // namespace

double activation_error(const formats::ModelConfig& config, std::string_view name, DType dtype) {
  const bool down = name.find("ffn_down") != std::string_view::npos;
  double error = kSumError;
  if (dtype == DType::kF16) error = kHalfError;
  if (dtype == DType::kBF16) error = kBrainError;
  const int64_t block = tensor::dtype_info(dtype).block_elements;
  if (block == 32) error = kBlock32Error;
  if (block == 256) error = kBlock256Error;
  // What goes into the down projection is a product of two values, whose largest stand out more.
  if (down && block > 1) error *= 2;
  if (down && config.activation == formats::Activation::kGeluTanh) {
    error = std::hypot(error, kTableGelu);
  }
  return error;
}

PerturbedSource::PerturbedSource(const formats::ModelSource& base, uint64_t seed, double scale)
    : base_(base) {
  Rng rng(seed);
  for (const auto& [name, view] : base.tensors()) {
    if (view.shape.size() < 2) {
      tensors_.emplace(name, view);
      continue;
    }
    auto values = kernels::to_float(view);
    SLUICE_CHECK(values.has_value(), "a matrix of a supported type");
    const double error = scale * activation_error(base.config(), name, view.dtype);
    for (float& v : *values) {
      v *= static_cast<float>(1.0 + error * std::sqrt(3.0) * (2 * rng.uniform() - 1));
    }
    values_.push_back(*std::move(values));
    tensors_.emplace(name, tensor::TensorView{DType::kF32, view.shape,
                                              std::as_bytes(std::span(values_.back()))});
  }
}

}  // namespace sluice::parity
