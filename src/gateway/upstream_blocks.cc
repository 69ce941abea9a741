#include "gateway/upstream_blocks.h"

#include <algorithm>
#include <utility>
#include <variant>

#include "base/prefix_hash.h"

namespace sluice::gateway {
namespace {

// Behind so many tokens all prompts are alike to the balancer.
constexpr size_t kMaxTokens = size_t{1} << 17;

}  // namespace

std::vector<uint64_t> block_chain(std::span<const int32_t> tokens, const BlockShape& shape,
                                  std::string_view tenant, std::string_view cache_salt) {
  tokens = tokens.first(std::min(tokens.size(), kMaxTokens));
  const auto size = static_cast<size_t>(shape.block_size);
  std::vector<uint64_t> chain;
  chain.reserve(tokens.size() / size);
  PrefixHash hash = prompt_salt(tenant, cache_salt);
  for (; tokens.size() >= size; tokens = tokens.subspan(size)) {
    hash = extend_prefix(hash, tokens.first(size));
    chain.push_back(prefix_tag(hash) ^ shape.model);
  }
  return chain;
}

void UpstreamBlocks::on_event(size_t slot, const api::BlockEvent& event) {
  if (const auto* hello = std::get_if<api::BlockHello>(&event)) {
    const std::lock_guard lock(mutex_);
    Source& source = sources_[slot] = {};
    source.models = hello->models;
    for (const auto& model : hello->models) {
      source.marks.push_back(prefix_tag(prefix_salt(model.names.front())));
    }
  } else if (const auto* changes = std::get_if<api::BlockChanges>(&event)) {
    std::vector<uint64_t> tags = changes->tags;
    {
      const std::lock_guard lock(mutex_);
      const auto source = sources_.find(slot);
      if (source == sources_.end() || changes->model >= source->second.marks.size()) return;
      for (uint64_t& tag : tags) tag ^= source->second.marks[changes->model];
    }
    directory_->change(tags, slot, changes->stored);
  } else if (std::holds_alternative<api::BlocksSynced>(event)) {
    const std::lock_guard lock(mutex_);
    sources_[slot].synced = true;
  }
}

void UpstreamBlocks::on_lost(size_t slot) {
  {
    const std::lock_guard lock(mutex_);
    if (sources_.erase(slot) == 0) return;
  }
  directory_->forget(slot);
}

std::optional<BlockShape> UpstreamBlocks::shape(std::string_view model) const {
  const std::lock_guard lock(mutex_);
  for (const auto& [slot, source] : sources_) {
    if (!source.synced) continue;
    for (size_t i = 0; i < source.models.size(); ++i) {
      const auto& names = source.models[i].names;
      if (!model.empty() && std::ranges::find(names, model) == names.end()) continue;
      return BlockShape{.block_size = source.models[i].block_size, .model = source.marks[i]};
    }
  }
  return std::nullopt;
}

size_t UpstreamBlocks::synced() const {
  const std::lock_guard lock(mutex_);
  return static_cast<size_t>(
      std::ranges::count_if(sources_, [](const auto& source) { return source.second.synced; }));
}

}  // namespace sluice::gateway
