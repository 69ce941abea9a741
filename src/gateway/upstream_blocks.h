// UpstreamBlocks: the prefix caches of an upstream's replicas, as they tell of them: which models,
// how their prompts are cut into blocks, and who holds which.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "api/block_events.h"
#include "gateway/block_directory.h"

namespace sluice::gateway {

// How a model's prompts are named.
struct BlockShape {
  int block_size = 0;  // tokens
  uint64_t model = 0;  // keeps models of one upstream apart
};

// The names of a prompt's full blocks, in order, as the runtime's chain has them.
std::vector<uint64_t> block_chain(std::span<const int32_t> tokens, const BlockShape& shape,
                                  std::string_view tenant, std::string_view cache_salt);

// Any thread.
class UpstreamBlocks {
 public:
  explicit UpstreamBlocks(size_t blocks) : directory_(std::make_shared<BlockDirectory>(blocks)) {}

  BlockDirectory& directory() const { return *directory_; }

  // What the replica in that slot says, in order; on_lost() when it says no more.
  void on_event(size_t slot, const api::BlockEvent& event);
  void on_lost(size_t slot);

  // Of a model by any of its names (empty: the first one); nothing while no replica has told all
  // that it holds.
  std::optional<BlockShape> shape(std::string_view model) const;
  size_t synced() const;

 private:
  struct Source {
    std::vector<api::BlockHello::Model> models;
    std::vector<uint64_t> marks;  // of each
    bool synced = false;
  };

  const std::shared_ptr<BlockDirectory> directory_;
  mutable std::mutex mutex_;
  std::map<size_t, Source> sources_;  // by slot
};

}  // namespace sluice::gateway
