#include "base/prefix_hash.h"

#define XXH_STATIC_LINKING_ONLY  // a hash state on the stack
#include <xxhash.h>

namespace sluice {

PrefixHash prefix_salt(std::string_view salt) {
  const XXH128_hash_t h = XXH3_128bits(salt.data(), salt.size());
  return {h.low64, h.high64};
}

PrefixHash extend_prefix(const PrefixHash& parent, std::span<const int32_t> tokens) {
  XXH3_state_t state;
  XXH3_128bits_reset(&state);
  XXH3_128bits_update(&state, &parent, sizeof(parent));
  XXH3_128bits_update(&state, tokens.data(), tokens.size_bytes());
  const XXH128_hash_t h = XXH3_128bits_digest(&state);
  return {h.low64, h.high64};
}

}  // namespace sluice
