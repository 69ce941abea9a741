// For tests: certificate authorities and what they sign, as PEM files in a folder of the test's.
#pragma once

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "net/tls.h"

namespace sluice::net::testing {

struct FreeKey {
  void operator()(EVP_PKEY* key) const { EVP_PKEY_free(key); }
};
struct FreeCertificate {
  void operator()(X509* certificate) const { X509_free(certificate); }
};

// A P-256 key and a certificate over it, signed by itself or by another.
class Certificate {
 public:
  // `names`: subjectAltName as OpenSSL writes it ("DNS:a.test,IP:127.0.0.1"); empty: an authority.
  Certificate(const std::string& folder, const std::string& name, const std::string& names = "",
              const Certificate* issuer = nullptr)
      : key_(EVP_EC_gen("P-256")), certificate_(X509_new()) {
    X509* x = certificate_.get();
    X509_set_version(x, X509_VERSION_3);
    static int serial = 0;
    ASN1_INTEGER_set(X509_get_serialNumber(x), ++serial);
    X509_gmtime_adj(X509_getm_notBefore(x), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x), 3600);
    X509_set_pubkey(x, key_.get());
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_UTF8,
                               reinterpret_cast<const unsigned char*>(name.c_str()), -1, -1, 0);
    const Certificate& signer = issuer != nullptr ? *issuer : *this;
    X509_set_issuer_name(x, X509_get_subject_name(signer.certificate_.get()));
    if (names.empty()) {
      extend(NID_basic_constraints, "critical,CA:TRUE");
    } else {
      extend(NID_subject_alt_name, names);
    }
    EXPECT_GT(X509_sign(x, signer.key_.get(), EVP_sha256()), 0);
    identity_ = {folder + "/" + name + ".pem", folder + "/" + name + ".key"};
    write(identity_.certificate_file, [&](FILE* f) { return PEM_write_X509(f, x); });
    write(identity_.key_file, [&](FILE* f) {
      return PEM_write_PrivateKey(f, key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
    });
  }

  const TlsIdentity& identity() const { return identity_; }
  const std::string& file() const { return identity_.certificate_file; }
  EVP_PKEY* key() const { return key_.get(); }

 private:
  void extend(int kind, const std::string& value) {
    X509_EXTENSION* extension = X509V3_EXT_conf_nid(nullptr, nullptr, kind, value.c_str());
    X509_add_ext(certificate_.get(), extension, -1);
    X509_EXTENSION_free(extension);
  }

  template <typename Write>
  static void write(const std::string& path, Write action) {
    const std::unique_ptr<FILE, int (*)(FILE*)> file(std::fopen(path.c_str(), "w"), &std::fclose);
    ASSERT_NE(file, nullptr) << path;
    EXPECT_EQ(action(file.get()), 1);
  }

  std::unique_ptr<EVP_PKEY, FreeKey> key_;
  std::unique_ptr<X509, FreeCertificate> certificate_;
  TlsIdentity identity_;
};

}  // namespace sluice::net::testing
