// The hash chain over prompt blocks by which equal prefixes are recognised, shared by the engine's
// prefix cache and the gateway's prefix-affine balancer.
//
// hash(block i) = XXH3-128(hash(block i-1), the block's token ids); the chain starts at a salt made
// of whatever must not share KV (tenant, adapter, image). Two equal hashes are taken for equal
// prefixes.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string_view>

namespace sluice {

struct PrefixHash {
  uint64_t low = 0;
  uint64_t high = 0;
  bool operator==(const PrefixHash&) const = default;
};

// The start of a chain.
PrefixHash prefix_salt(std::string_view salt);

// The start of a prompt's chain: who must not share with whom.
PrefixHash prompt_salt(std::string_view tenant, std::string_view cache_salt);

// The hash of a full block of tokens that follows `parent`.
PrefixHash extend_prefix(const PrefixHash& parent, std::span<const int32_t> tokens);

// The short name of a block, by which processes tell each other of it.
constexpr uint64_t prefix_tag(const PrefixHash& hash) {
  return hash.low ^ std::rotl(hash.high, 23);
}

// A block that a prefix cache has from now on, or has no more.
struct PrefixChange {
  uint64_t tag = 0;
  bool stored = false;
  bool operator==(const PrefixChange&) const = default;
};

}  // namespace sluice

template <>
struct std::hash<sluice::PrefixHash> {
  size_t operator()(const sluice::PrefixHash& h) const noexcept { return h.low; }
};
