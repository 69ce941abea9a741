// Decoder: what every decoder-only model does around its layers: embed, run the layers, norm,
// output matrix. A family derives from it (or from one of the two common shapes in layers.h) and
// supplies the two halves of its layer.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "model/loader.h"
#include "model/model.h"
#include "model/workspace.h"

namespace sluice::model {

// RMS norm (Zhang & Sennrich, arXiv:1910.07467) over the width.
struct Norm {
  std::vector<float> weight;
  float eps = 0.0f;

  static Norm load(Loader& load, const std::string& name);
  static Norm load(Loader& load, int layer, std::string_view part);
  void run(Step& step, const float* x, float* out) const;
};

class Decoder : public Model {
 public:
  // Takes the tensors outside the layers.
  explicit Decoder(Loader& load);

  const formats::ModelConfig& config() const final { return config_; }
  const ModelOptions& options() const final { return options_; }
  void forward(const Batch& batch, std::span<float> logits) final;

  // Reserves the cache; the last step of loading.
  Outcome allocate();

 protected:
  // residual += attention half of the layer, over all rows.
  virtual void attend(int layer, Step& step) const = 0;
  // residual += feed-forward half.
  virtual void feed(int layer, Step& step) const = 0;

 private:
  void check(const Batch& batch, std::span<float> logits) const;
  Step begin(const Batch& batch);
  void fill_angles(const Step& step);
  void keep_output_rows(Step& step) const;
  void write_logits(Step& step, std::span<float> logits) const;

  const formats::ModelConfig config_;
  const ModelOptions options_;
  ThreadTeam& team_;
  tensor::TensorView embedding_;
  Norm output_norm_;
  std::unique_ptr<kernels::Matrix> output_;
  Rope rope_;
  std::optional<Rope> local_rope_;  // gemma3's windowed layers
  Workspace work_;
  KvCache kv_;
};

// residual += output.
void add_to_residual(Step& step);

}  // namespace sluice::model
