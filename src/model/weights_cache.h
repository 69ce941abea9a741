// WeightsCache: one model's repacked weights in a file, so that a later start maps what an earlier
// one computed.
//
// open() → load_model(…, cache) → write() where is_complete() is false. A file is used when it was
// made of these weights, for this layout of panels, and every byte is as it was written:
//  - the weights are known by the stamp of their files (node, size, times), or, where that is not
//    the one noted, by their digest, for which they are read once;
//  - the layout is known by what repacking a small pattern gives, so that no version is forgotten;
//  - all checksums are computed. That reads the file once, as the first token would.
// What is missing, stale or damaged is repacked, and the file written anew beside the old one and
// renamed over it: who has mapped the old one keeps it. A folder that cannot be read or written, or
// a full disk, costs the time of repacking and a warning.
//
// Outlives the model that was loaded with it: its matrices lie in the mapped file. Owned by who
// loads; write() may run on another thread once loading is done.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "base/thread_team.h"
#include "formats/model_source.h"
#include "kernels/isa.h"
#include "model/weights_cache_file.h"
#include "tensor/mapped_file.h"

namespace sluice::model {

class WeightsCache {
 public:
  // The model's file in `folder`, whose name begins with `stem`. The source outlives the cache.
  static std::unique_ptr<WeightsCache> open(const formats::ModelSource& source, kernels::Isa isa,
                                            const std::filesystem::path& folder,
                                            std::string_view stem, ThreadTeam& team);

  // The repacked bytes of `view`, a part of the source's tensor `name`; empty where there are none.
  std::span<const std::byte> find(const std::string& name, const tensor::TensorView& view) const;

  // Tells what was found or repacked; the bytes live until the cache is written or gone.
  void note(const std::string& name, const tensor::TensorView& view,
            std::span<const std::byte> repacked);

  // Whether the file held all that was noted.
  bool is_complete() const { return complete_; }

  // The weights' digest, as far as it is known from the file.
  std::optional<uint64_t> digest() const;

  const std::filesystem::path& path() const { return path_; }

  // Puts a file of all that was noted in the place of the old one, and reads it once, so that the
  // next start finds it in large pages. Gives up when asked to stop, with kCancelled.
  Outcome write(uint64_t digest, const std::stop_token& stop) const;

 private:
  struct Noted {
    uint64_t key = 0;
    std::span<const std::byte> bytes;
  };

  explicit WeightsCache(const formats::ModelSource& source, kernels::Isa isa)
      : source_(source), isa_(isa) {}

  Outcome map(ThreadTeam& team);
  Outcome use(tensor::MappedFile file, ThreadTeam& team);
  uint64_t key_of(const std::string& name, const tensor::TensorView& view) const;

  const formats::ModelSource& source_;
  const kernels::Isa isa_;
  std::filesystem::path path_;
  uint64_t layout_ = 0;
  std::optional<tensor::MappedFile> file_;  // checked
  WeightsCacheHead head_;                   // of file_
  std::vector<Noted> noted_;
  bool complete_ = true;
};

}  // namespace sluice::model
