// Secrets that callers present: kept and compared as SHA-256 digests, in constant time.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice {

class SecretDigest {
 public:
  explicit SecretDigest(std::string_view secret);

  // From the 64 hex digits that sha256sum prints.
  static Result<SecretDigest> from_hex(std::string_view hex);
  std::string hex() const;

  // Takes the same time wherever the digests differ.
  bool matches(const SecretDigest& other) const;
  // The first 48 bits in hex: names a key in labels and logs without telling it.
  std::string short_name() const;

 private:
  SecretDigest() = default;

  std::array<uint8_t, 32> bytes_{};
};

}  // namespace sluice
