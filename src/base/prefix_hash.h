// The hash chain over prompt blocks by which equal prefixes are recognised, shared by the engine's
// prefix cache and (later) the gateway's prefix-affine balancer.
//
// hash(block i) = XXH3-128(hash(block i-1), the block's token ids); the chain starts at a salt made
// of whatever must not share KV (tenant, adapter, image). Two equal hashes are taken for equal
// prefixes.
#pragma once

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

// The hash of a full block of tokens that follows `parent`.
PrefixHash extend_prefix(const PrefixHash& parent, std::span<const int32_t> tokens);

}  // namespace sluice

template <>
struct std::hash<sluice::PrefixHash> {
  size_t operator()(const sluice::PrefixHash& h) const noexcept { return h.low; }
};
