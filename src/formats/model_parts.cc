#include "formats/model_parts.h"

#include <xxhash.h>

#include <memory>
#include <mutex>
#include <string_view>

namespace sluice::formats {
namespace {

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

// Lengths stand before texts and shapes, so that no two models give the same stream of bytes.
uint64_t digest(const TensorMap& tensors) {
  const std::unique_ptr<XXH3_state_t, FreeState> state(XXH3_createState());
  XXH3_64bits_reset(state.get());
  const auto number = [&](uint64_t value) {
    XXH3_64bits_update(state.get(), &value, sizeof(value));
  };
  for (const auto& [name, view] : tensors) {
    number(name.size());
    XXH3_64bits_update(state.get(), name.data(), name.size());
    number(static_cast<uint64_t>(view.dtype));
    number(view.shape.size());
    for (const int64_t d : view.shape) number(static_cast<uint64_t>(d));
    number(view.bytes.size());
    XXH3_64bits_update(state.get(), view.bytes.data(), view.bytes.size());
  }
  return XXH3_64bits_digest(state.get());
}

class LoadedSource final : public ModelSource {
 public:
  explicit LoadedSource(ModelParts parts) : parts_(std::move(parts)) {}

  const ModelConfig& config() const override { return parts_.config; }
  const TokenizerSource& tokenizer() const override { return parts_.tokenizer; }
  const GenerationDefaults& generation() const override { return parts_.generation; }
  const std::string& chat_template() const override { return parts_.chat_template; }
  const tensor::TensorView* find(std::string_view name) const override {
    const auto it = parts_.tensors.find(name);
    return it == parts_.tensors.end() ? nullptr : &it->second;
  }
  const TensorMap& tensors() const override { return parts_.tensors; }
  const std::vector<MetadataEntry>& metadata() const override { return parts_.metadata; }
  std::string_view format() const override { return parts_.format; }
  uint64_t file_bytes() const override { return parts_.file_bytes; }
  uint64_t weights_digest() const override {
    std::call_once(digest_once_, [this] {
      digest_ = digest(parts_.tensors);
      for (const auto& [name, view] : parts_.tensors) release(view);
    });
    return digest_;
  }
  void release(const tensor::TensorView& view) const override {
    for (const tensor::MappedFile& file : parts_.files) file.release(view.bytes);
  }

 private:
  const ModelParts parts_;
  mutable std::once_flag digest_once_;
  mutable uint64_t digest_ = 0;
};

}  // namespace

std::unique_ptr<ModelSource> make_source(ModelParts parts) {
  return std::make_unique<LoadedSource>(std::move(parts));
}

}  // namespace sluice::formats
