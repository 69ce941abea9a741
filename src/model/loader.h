// Loader: takes a model's tensors out of its source, each with the shape the architecture gives it.
//
// Architectures ask for what they need without looking at errors: a tensor that is missing or wrong
// is noted, an empty one is handed out, and finish() reports all of them at once. Nothing loaded
// may be used before finish() succeeded.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "formats/model_source.h"
#include "kernels/ops.h"
#include "model/model.h"

namespace sluice::model {

class WeightsCache;

// "blk.3.attn_q.weight"
std::string layer_tensor(int layer, std::string_view part, std::string_view kind = "weight");

// A projection: y = x wᵀ + bias. The bias may be empty.
struct Linear {
  std::unique_ptr<kernels::Matrix> weight;
  std::vector<float> bias;

  kernels::Product into(float* y) const { return {.w = weight.get(), .y = y, .bias = bias}; }
};

// A projection kept in float32; `values` is empty unless the weight reads them.
struct FloatMatrix {
  std::vector<float> values;
  std::unique_ptr<kernels::Matrix> weight;
};

// A share of the rows of a matrix that several projections are stored in.
struct Rows {
  int64_t total = 0;
  int64_t first = 0;
  int64_t count = 0;
};

class Loader {
 public:
  Loader(const formats::ModelSource& source, const ModelOptions& options, ThreadTeam& team,
         WeightsCache* cache = nullptr);

  const formats::ModelConfig& config() const { return source_.config(); }
  const ModelOptions& options() const { return options_; }
  ThreadTeam& team() const { return team_; }
  bool has(std::string_view name) const { return source_.find(name) != nullptr; }

  // The weight of an RMS norm, or any other vector.
  std::vector<float> vector(const std::string& name, int64_t length);

  // {out, in}, as the tensor's type has it.
  std::unique_ptr<kernels::Matrix> matrix(const std::string& name, int64_t out, int64_t in);

  // The same in float32, whatever the tensor's type: for small matrices that want its precision.
  FloatMatrix float_matrix(const std::string& name, int64_t out, int64_t in);

  // Notes a missing tensor that linear() takes for optional.
  void require(const std::string& name);

  // `part` of a layer: its matrix, and its bias if the model has one.
  Linear linear(int layer, std::string_view part, int64_t out, int64_t in);

  // The same of some of the part's rows only.
  Linear linear_rows(int layer, std::string_view part, Rows rows, int64_t in);

  // A stack {count, out, in} as `count` matrices.
  std::vector<std::unique_ptr<kernels::Matrix>> stack(const std::string& name, int64_t count,
                                                      int64_t out, int64_t in);

  // The embedding table {rows, cols}: kept as it is stored.
  tensor::TensorView table(const std::string& name, int64_t rows, int64_t cols);

  // What was missing, wrong, or left over.
  Outcome finish() const;

 private:
  // nullptr when the tensor is missing or has another shape; that is noted.
  const tensor::TensorView* claim(const std::string& name, const tensor::Shape& shape);
  std::unique_ptr<kernels::Matrix> prepare(const std::string& name, const tensor::TensorView& view);

  const formats::ModelSource& source_;
  const ModelOptions& options_;
  ThreadTeam& team_;
  WeightsCache* const cache_;  // may be null
  std::set<std::string, std::less<>> claimed_;
  std::vector<std::string> problems_;
};

}  // namespace sluice::model
