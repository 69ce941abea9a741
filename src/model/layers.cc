#include "model/layers.h"

namespace sluice::model {

void PreNormDecoder::attend(int layer, Step& step) const {
  const PreNormLayer& l = layers_[static_cast<size_t>(layer)];
  l.attention_norm.run(step, step.work.residual.get(), step.work.normed.get());
  l.attention.run(step);
  add_to_residual(step);
}

void PreNormDecoder::feed(int layer, Step& step) const {
  const PreNormLayer& l = layers_[static_cast<size_t>(layer)];
  l.ffn_norm.run(step, step.work.residual.get(), step.work.normed.get());
  l.ffn->run(step);
  add_to_residual(step);
}

void SandwichNormDecoder::attend(int layer, Step& step) const {
  const SandwichNormLayer& l = layers_[static_cast<size_t>(layer)];
  l.attention_norm.run(step, step.work.residual.get(), step.work.normed.get());
  l.attention.run(step);
  l.attention_post_norm.run(step, step.work.output.get(), step.work.output.get());
  add_to_residual(step);
}

void SandwichNormDecoder::feed(int layer, Step& step) const {
  const SandwichNormLayer& l = layers_[static_cast<size_t>(layer)];
  l.ffn_norm.run(step, step.work.residual.get(), step.work.normed.get());
  l.ffn->run(step);
  l.ffn_post_norm.run(step, step.work.output.get(), step.work.output.get());
  add_to_residual(step);
}

}  // namespace sluice::model
