#include "base/prefix_hash.h"

#define XXH_STATIC_LINKING_ONLY  // a hash state on the stack
#include <xxhash.h>

#include <array>
#include <cstring>
#include <string>

namespace sluice {

namespace {

constexpr size_t kSmallBlock = 64;  // tokens

}  // namespace

PrefixHash prefix_salt(std::string_view salt) {
  const XXH128_hash_t h = XXH3_128bits(salt.data(), salt.size());
  return {h.low64, h.high64};
}

// The tenant's length keeps ("ab", "c") and ("a", "bc") apart.
PrefixHash prompt_salt(std::string_view tenant, std::string_view cache_salt) {
  std::string salt = std::to_string(tenant.size());
  salt.append(":").append(tenant).append(cache_salt);
  return prefix_salt(salt);
}

PrefixHash extend_prefix(const PrefixHash& parent, std::span<const int32_t> tokens) {
  // Hashed in one piece where it is small: setting up a state costs more than hashing a block.
  if (tokens.size() <= kSmallBlock) {
    std::array<char, sizeof(parent) + kSmallBlock * sizeof(int32_t)> bytes;
    std::memcpy(bytes.data(), &parent, sizeof(parent));
    if (!tokens.empty()) {
      std::memcpy(bytes.data() + sizeof(parent), tokens.data(), tokens.size_bytes());
    }
    const XXH128_hash_t h = XXH3_128bits(bytes.data(), sizeof(parent) + tokens.size_bytes());
    return {h.low64, h.high64};
  }
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  XXH3_128bits_update(&state, &parent, sizeof(parent));
  XXH3_128bits_update(&state, tokens.data(), tokens.size_bytes());
  const XXH128_hash_t h = XXH3_128bits_digest(&state);
  return {h.low64, h.high64};
}

}  // namespace sluice
