#include "formats/model_parts.h"

#include <xxhash.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <mutex>
#include <span>
#include <string_view>
#include <vector>

namespace sluice::formats {
namespace {

struct FreeState {
  void operator()(XXH3_state_t* state) const { XXH3_freeState(state); }
};

using Bytes = std::span<const std::byte>;

const std::byte* begin_of(Bytes bytes) { return bytes.data(); }

// Lengths stand before texts and shapes, so that no two models give the same stream of bytes.
template <typename Done>
uint64_t digest(const TensorMap& tensors, Done&& done) {
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
    done(view.bytes);
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
      const std::vector<Bytes> unused = released();
      digest_ = digest(parts_.tensors, [&](Bytes tensor) {
        auto part = std::ranges::lower_bound(unused, tensor.data(), {}, begin_of);
        for (; part != unused.end() && part->data() < tensor.data() + tensor.size(); ++part) {
          release_pages(*part);
        }
      });
    });
    return digest_;
  }
  uint64_t files_stamp() const override {
    uint64_t stamp = 0;
    for (const tensor::MappedFile& file : parts_.files) {
      const tensor::FileStamp& each = file.stamp();
      stamp = XXH3_64bits_withSeed(each.data(), sizeof each, stamp);
    }
    return stamp;
  }
  void release(const tensor::TensorView& view) const override {
    {
      const std::lock_guard lock(released_mutex_);
      released_.push_back(view.bytes);
    }
    release_pages(view.bytes);
  }

 private:
  void release_pages(Bytes bytes) const {
    for (const tensor::MappedFile& file : parts_.files) file.release(bytes);
  }
  // By address.
  std::vector<Bytes> released() const {
    const std::lock_guard lock(released_mutex_);
    std::ranges::sort(released_, {}, begin_of);
    return released_;
  }

  const ModelParts parts_;
  mutable std::mutex released_mutex_;
  mutable std::vector<Bytes> released_;  // nobody reads these but the digest
  mutable std::once_flag digest_once_;
  mutable uint64_t digest_ = 0;
};

}  // namespace

std::unique_ptr<ModelSource> make_source(ModelParts parts) {
  return std::make_unique<LoadedSource>(std::move(parts));
}

}  // namespace sluice::formats
