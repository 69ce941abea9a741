// The two arrangements of norms that the families use.
//
//   pre-norm       x += attention(norm(x));        x += ffn(norm(x))
//   sandwich norm  x += norm(attention(norm(x)));  x += norm(ffn(norm(x)))      (gemma 2 and 3)
#pragma once

#include <memory>
#include <vector>

#include "model/attention.h"
#include "model/decoder.h"
#include "model/feed_forward.h"

namespace sluice::model {

struct PreNormLayer {
  Norm attention_norm;
  Attention attention;
  Norm ffn_norm;
  std::unique_ptr<FeedForward> ffn;
};

class PreNormDecoder : public Decoder {
 public:
  using Decoder::Decoder;

 protected:
  void attend(int layer, Step& step) const final;
  void feed(int layer, Step& step) const final;

  std::vector<PreNormLayer> layers_;
};

struct SandwichNormLayer {
  Norm attention_norm;
  Attention attention;
  Norm attention_post_norm;
  Norm ffn_norm;
  std::unique_ptr<FeedForward> ffn;
  Norm ffn_post_norm;
};

class SandwichNormDecoder : public Decoder {
 public:
  using Decoder::Decoder;

 protected:
  void attend(int layer, Step& step) const final;
  void feed(int layer, Step& step) const final;

  std::vector<SandwichNormLayer> layers_;
};

}  // namespace sluice::model
