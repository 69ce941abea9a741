#include "base/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

namespace sluice {

SecretDigest::SecretDigest(std::string_view secret) {
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), bytes_.data());
}

bool SecretDigest::matches(const SecretDigest& other) const {
  return CRYPTO_memcmp(bytes_.data(), other.bytes_.data(), bytes_.size()) == 0;
}

std::string SecretDigest::short_name() const {
  std::string out;
  for (size_t i = 0; i < 6; ++i) out += fmt::format("{:02x}", bytes_[i]);
  return out;
}

}  // namespace sluice
