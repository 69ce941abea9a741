// The self-signed certificate of the API server, by OpenSSL.

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>
#include <string>
#include <system_error>

#include "base/files.h"
#include "base/rng.h"
#include "control/credentials.h"
#include "net/tls.h"

namespace sluice::control {
namespace {

namespace fs = std::filesystem;

constexpr long kDay = 24L * 3600;
constexpr long kLife = 5 * 365 * kDay;
constexpr long kRenewBefore = 90 * kDay;
constexpr size_t kMaxPemBytes = 64u << 10;

template <typename T, void (*Free)(T*)>
struct Freed {
  void operator()(T* handle) const { Free(handle); }
};
using Key = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY, EVP_PKEY_free>>;
using Cert = std::unique_ptr<X509, Freed<X509, X509_free>>;
using Extension = std::unique_ptr<X509_EXTENSION, Freed<X509_EXTENSION, X509_EXTENSION_free>>;
struct FreeBio {
  void operator()(BIO* bio) const { BIO_free(bio); }
};
using Bio = std::unique_ptr<BIO, FreeBio>;

std::unexpected<Status> openssl_failed(std::string_view what) {
  return fail(Code::kInternal, fmt::format("{}: {}", what, net::tls_error()));
}

bool names(X509* certificate, const std::string& host) {
  return X509_check_host(certificate, host.data(), host.size(), 0, nullptr) == 1 ||
         X509_check_ip_asc(certificate, host.c_str(), 0) == 1;
}

std::string text_of(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<size_t>(size)};
}

bool is_address(const std::string& host) {
  return host.contains(':') || host.find_first_not_of("0123456789.") == std::string::npos;
}

bool add_extension(X509* certificate, int nid, const std::string& value) {
  const Extension extension(X509V3_EXT_conf_nid(nullptr, nullptr, nid, value.c_str()));
  return extension && X509_add_ext(certificate, extension.get(), -1) == 1;
}

bool fill(X509* certificate, EVP_PKEY* key, const std::string& host) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const auto* common_name = reinterpret_cast<const unsigned char*>("sluice control plane");
  std::string alternatives = "IP:127.0.0.1,IP:::1,DNS:localhost";
  if (!host.empty() && host != "127.0.0.1" && host != "::1" && host != "localhost") {
    alternatives += fmt::format(",{}:{}", is_address(host) ? "IP" : "DNS", host);
  }
  const auto serial = static_cast<long>(random_seed() >> 2);
  return X509_set_version(certificate, 2) == 1 &&
         ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial) == 1 &&
         X509_gmtime_adj(X509_getm_notBefore(certificate), -kDay) != nullptr &&
         X509_gmtime_adj(X509_getm_notAfter(certificate), kLife) != nullptr &&
         X509_set_pubkey(certificate, key) == 1 &&
         X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, common_name, -1, -1, 0) == 1 &&
         X509_set_issuer_name(certificate, subject) == 1 &&
         add_extension(certificate, NID_basic_constraints, "critical,CA:FALSE") &&
         add_extension(certificate, NID_key_usage, "critical,digitalSignature") &&
         add_extension(certificate, NID_ext_key_usage, "serverAuth") &&
         add_extension(certificate, NID_subject_alt_name, alternatives) &&
         X509_sign(certificate, key, EVP_sha256()) > 0;
}

Result<Certificate> make(Certificate files, const std::string& host) {
  const Key key(EVP_EC_gen("P-256"));
  const Cert certificate(X509_new());
  if (!key || !certificate || !fill(certificate.get(), key.get(), host)) {
    return openssl_failed("cannot make a certificate");
  }
  const Bio certificate_text(BIO_new(BIO_s_mem()));
  const Bio key_text(BIO_new(BIO_s_mem()));
  if (!certificate_text || !key_text ||
      PEM_write_bio_X509(certificate_text.get(), certificate.get()) != 1 ||
      PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) !=
          1) {
    return openssl_failed("cannot write a certificate");
  }
  files.pem = text_of(certificate_text.get());
  SLUICE_RETURN_IF_ERROR(write_file_atomically(files.key_file, text_of(key_text.get())));
  std::error_code error;
  fs::permissions(files.key_file, fs::perms::owner_read | fs::perms::owner_write, error);
  SLUICE_RETURN_IF_ERROR(write_file_atomically(files.certificate_file, files.pem));
  return files;
}

// Whether the PEM is still good for `host`.
bool serves(const std::string& pem, const std::string& host) {
  const Bio bio(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
  const Cert certificate(PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr));
  if (!certificate) return false;
  time_t renew_at = time(nullptr) + kRenewBefore;
  return X509_cmp_time(X509_get0_notAfter(certificate.get()), &renew_at) > 0 &&
         names(certificate.get(), "127.0.0.1") && (host.empty() || names(certificate.get(), host));
}

}  // namespace

Result<Certificate> ensure_certificate(const fs::path& folder, const std::string& host) {
  Certificate files{
      .certificate_file = folder / "tls.crt", .key_file = folder / "tls.key", .pem = {}};
  const std::string named = host == "0.0.0.0" || host == "::" ? std::string() : host;
  std::error_code error;
  if (fs::exists(files.certificate_file, error) && fs::exists(files.key_file, error)) {
    SLUICE_ASSIGN_OR_RETURN(files.pem, read_file(files.certificate_file, kMaxPemBytes));
    if (serves(files.pem, named)) return files;
  }
  return make(std::move(files), named);
}

}  // namespace sluice::control
