#include "registry/digest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <vector>

#include "base/check.h"

namespace sluice::registry {
namespace {

constexpr std::string_view kPrefix = "sha256:";
constexpr size_t kHexDigits = 64;
constexpr size_t kPieceBytes = 1u << 20;

class Sha256 {
 public:
  Sha256() : context_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    SLUICE_CHECK(context_ && EVP_DigestInit_ex(context_.get(), EVP_sha256(), nullptr) == 1,
                 "SHA-256 begins");
  }

  void add(std::string_view bytes) {
    SLUICE_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1,
                 "SHA-256 takes bytes");
  }

  std::string finish() {
    std::array<unsigned char, EVP_MAX_MD_SIZE> raw{};
    unsigned int length = 0;
    SLUICE_CHECK(EVP_DigestFinal_ex(context_.get(), raw.data(), &length) == 1, "SHA-256 ends");
    std::string text(kPrefix);
    for (size_t i = 0; i < length; ++i) text += fmt::format("{:02x}", raw[i]);
    return text;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context_;
};

}  // namespace

std::string sha256_text(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.finish();
}

Result<std::string> sha256_file(const std::filesystem::path& path) {
  const auto failure = [&] {
    return fail(Code::kUnavailable,
                fmt::format("cannot read {}: {}", path.string(), std::strerror(errno)));
  };
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return failure();
  Sha256 hash;
  std::vector<char> piece(kPieceBytes);
  ssize_t count = 0;
  do {
    count = ::read(fd, piece.data(), piece.size());
    if (count > 0) hash.add({piece.data(), static_cast<size_t>(count)});
  } while (count > 0 || (count < 0 && errno == EINTR));
  const int error = errno;
  ::close(fd);
  errno = error;
  if (count < 0) return failure();
  return hash.finish();
}

Result<std::string> parse_digest(std::string_view text) {
  std::string_view digits = text;
  if (digits.starts_with(kPrefix)) digits.remove_prefix(kPrefix.size());
  std::string out(kPrefix);
  bool hex = digits.size() == kHexDigits;
  for (const char c : digits) {
    const char low = c >= 'A' && c <= 'F' ? static_cast<char>(c - 'A' + 'a') : c;
    hex = hex && ((low >= '0' && low <= '9') || (low >= 'a' && low <= 'f'));
    out += low;
  }
  if (!hex) {
    return invalid(
        fmt::format("a checksum is expected as sha256: and {} hex digits; found {} characters{}",
                    kHexDigits, digits.size(), text.starts_with("sha") ? "" : ", no sha256"),
        "checksum");
  }
  return out;
}

}  // namespace sluice::registry
