#include "base/secret.h"

#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>

#include <charconv>

namespace sluice {

SecretDigest::SecretDigest(std::string_view secret) {
  SHA256(reinterpret_cast<const unsigned char*>(secret.data()), secret.size(), bytes_.data());
}

Result<SecretDigest> SecretDigest::from_hex(std::string_view hex) {
  SecretDigest digest;
  const auto wrong = [] { return invalid("expected 64 hex digits, as sha256sum prints them"); };
  if (hex.size() != 2 * digest.bytes_.size()) return wrong();
  for (size_t i = 0; i < digest.bytes_.size(); ++i) {
    const char* at = hex.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, digest.bytes_[i], 16);
    if (error != std::errc() || end != at + 2) return wrong();
  }
  return digest;
}

std::string SecretDigest::hex() const {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string out;
  out.reserve(2 * bytes_.size());
  for (const uint8_t byte : bytes_) {
    out.push_back(kDigits[byte >> 4]);
    out.push_back(kDigits[byte & 15]);
  }
  return out;
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
