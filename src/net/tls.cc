#include "net/tls.h"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <array>
#include <csignal>
#include <utility>

#include "net/socket.h"

namespace sluice::net {

namespace {

// Forward secrecy and authenticated encryption only (RFC 9325 §4.2); TLS 1.3 has nothing else.
constexpr const char* kCiphers12 = "ECDHE+AESGCM:ECDHE+CHACHA20";
constexpr std::array<unsigned char, 9> kHttp11 = {8, 'h', 't', 't', 'p', '/', '1', '.', '1'};

int choose_protocol(ssl_st*, const unsigned char** out, unsigned char* out_size,
                    const unsigned char* offered, unsigned int offered_size, void*) {
  unsigned char* chosen = nullptr;
  const int found = SSL_select_next_proto(&chosen, out_size, kHttp11.data(), kHttp11.size(),
                                          offered, offered_size);
  *out = chosen;
  return found == OPENSSL_NPN_NEGOTIATED ? SSL_TLSEXT_ERR_OK : SSL_TLSEXT_ERR_ALERT_FATAL;
}

// A key behind a passphrase is refused; the default would ask on the terminal.
int no_passphrase(char*, int, int, void*) { return -1; }

// OpenSSL writes to sockets without MSG_NOSIGNAL.
void ignore_broken_pipes() {
  static const bool once = [] { return ::signal(SIGPIPE, SIG_IGN) != SIG_ERR; }();
  static_cast<void>(once);
}

void set_common(ssl_ctx_st* handle) {
  ignore_broken_pipes();
  SSL_CTX_set_default_passwd_cb(handle, no_passphrase);
  SSL_CTX_set_min_proto_version(handle, TLS1_2_VERSION);
  SSL_CTX_set_cipher_list(handle, kCiphers12);
  SSL_CTX_set_options(handle, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
  // What is written may move between tries and leave in part; idle connections hold no buffers.
  SSL_CTX_set_mode(handle, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
                               SSL_MODE_RELEASE_BUFFERS);
}

Outcome use_identity(ssl_ctx_st* handle, const TlsIdentity& identity) {
  ERR_clear_error();
  if (SSL_CTX_use_certificate_chain_file(handle, identity.certificate_file.c_str()) != 1) {
    return invalid(fmt::format("cannot use '{}' as a certificate in PEM form: {}",
                               identity.certificate_file, tls_error()));
  }
  if (SSL_CTX_use_PrivateKey_file(handle, identity.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return invalid(fmt::format("cannot use '{}' as the private key (PEM) of '{}': {}",
                               identity.key_file, identity.certificate_file, tls_error()));
  }
  return {};
}

Outcome ask_clients(ssl_ctx_st* handle, const TlsServerOptions& options) {
  if (options.client_ca_file.empty()) return {};
  ERR_clear_error();
  const char* file = options.client_ca_file.c_str();
  auto* names = SSL_load_client_CA_file(file);
  if (names == nullptr || SSL_CTX_load_verify_file(handle, file) != 1) {
    sk_X509_NAME_pop_free(names, X509_NAME_free);
    return invalid(
        fmt::format("cannot use '{}' as authorities in PEM form: {}", file, tls_error()));
  }
  SSL_CTX_set_client_CA_list(handle, names);
  const int required = options.client_certificate_required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0;
  SSL_CTX_set_verify(handle, SSL_VERIFY_PEER | required, nullptr);
  return {};
}

// Every certificate of the text.
Outcome believe(ssl_ctx_st* handle, const std::string& pem) {
  ERR_clear_error();
  const std::unique_ptr<BIO, decltype(&BIO_free)> text(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  int found = 0;
  while (X509* certificate = PEM_read_bio_X509(text.get(), nullptr, no_passphrase, nullptr)) {
    const bool added = X509_STORE_add_cert(SSL_CTX_get_cert_store(handle), certificate) == 1;
    X509_free(certificate);
    if (!added) return invalid(fmt::format("cannot use an authority: {}", tls_error()));
    ++found;
  }
  if (found == 0) return invalid(fmt::format("no certificate in PEM form: {}", tls_error()));
  ERR_clear_error();
  return {};
}

bool is_address(const std::string& host) {
  ASN1_OCTET_STRING* bytes = a2i_IPADDRESS(host.c_str());
  ASN1_OCTET_STRING_free(bytes);
  return bytes != nullptr;
}

}  // namespace

void TlsContext::Free::operator()(ssl_st* ssl) const { SSL_free(ssl); }
void TlsContext::Free::operator()(ssl_ctx_st* context) const { SSL_CTX_free(context); }

std::string tls_error() {
  const unsigned long code = ERR_get_error();
  const int system = ERR_SYSTEM_ERROR(code) ? ERR_GET_REASON(code) : 0;
  ERR_clear_error();
  if (code == 0) return "unknown error";
  if (system != 0) return errno_text("system", system);
  const char* reason = ERR_reason_error_string(code);
  return reason != nullptr ? reason : fmt::format("error {:#x}", code);
}

int TlsContext::choose_identity(ssl_st* ssl, int*, void* self) {
  const char* name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  if (name == nullptr) return SSL_TLSEXT_ERR_NOACK;
  for (const Handle& handle : static_cast<const TlsContext*>(self)->handles_) {
    if (X509_check_host(SSL_CTX_get0_certificate(handle.get()), name, 0, 0, nullptr) != 1) continue;
    SSL_set_SSL_CTX(ssl, handle.get());
    return SSL_TLSEXT_ERR_OK;
  }
  return SSL_TLSEXT_ERR_NOACK;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::for_server(const TlsServerOptions& options) {
  if (options.identities.empty()) return invalid("TLS needs a certificate and its key");
  std::shared_ptr<TlsContext> context(new TlsContext());
  for (const TlsIdentity& identity : options.identities) {
    Handle handle(SSL_CTX_new(TLS_server_method()));
    if (!handle) return fail(Code::kResourceExhausted, tls_error());
    set_common(handle.get());
    SSL_CTX_set_options(handle.get(), SSL_OP_CIPHER_SERVER_PREFERENCE);
    SLUICE_RETURN_IF_ERROR(use_identity(handle.get(), identity));
    SLUICE_RETURN_IF_ERROR(ask_clients(handle.get(), options));
    constexpr std::string_view kSessions = "sluice";
    SSL_CTX_set_session_id_context(
        handle.get(), reinterpret_cast<const unsigned char*>(kSessions.data()), kSessions.size());
    SSL_CTX_set_session_cache_mode(handle.get(), SSL_SESS_CACHE_OFF);  // tickets only
    SSL_CTX_set_alpn_select_cb(handle.get(), choose_protocol, nullptr);
    SSL_CTX_set_tlsext_servername_callback(handle.get(), choose_identity);
    SSL_CTX_set_tlsext_servername_arg(handle.get(), context.get());
    context->handles_.push_back(std::move(handle));
  }
  return context;
}

Result<std::shared_ptr<const TlsContext>> TlsContext::for_client(const TlsClientOptions& options) {
  std::shared_ptr<TlsContext> context(new TlsContext());
  Handle handle(SSL_CTX_new(TLS_client_method()));
  if (!handle) return fail(Code::kResourceExhausted, tls_error());
  set_common(handle.get());
  ERR_clear_error();
  if (!options.ca_pem.empty()) SLUICE_RETURN_IF_ERROR(believe(handle.get(), options.ca_pem));
  if (options.ca_file.empty()) {
    if (options.ca_pem.empty()) SSL_CTX_set_default_verify_paths(handle.get());
  } else if (SSL_CTX_load_verify_file(handle.get(), options.ca_file.c_str()) != 1) {
    return invalid(fmt::format("cannot use '{}' as authorities in PEM form: {}", options.ca_file,
                               tls_error()));
  }
  if (!options.identity.certificate_file.empty()) {
    SLUICE_RETURN_IF_ERROR(use_identity(handle.get(), options.identity));
  }
  SSL_CTX_set_verify(handle.get(), options.verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nullptr);
  SSL_CTX_set_alpn_protos(handle.get(), kHttp11.data(), kHttp11.size());
  context->handles_.push_back(std::move(handle));
  return context;
}

TlsContext::Session TlsContext::accept(int socket) const {
  Session session(SSL_new(handles_.front().get()));
  if (!session || SSL_set_fd(session.get(), socket) != 1) return nullptr;
  SSL_set_accept_state(session.get());
  return session;
}

TlsContext::Session TlsContext::connect(int socket, const std::string& host) const {
  Session session(SSL_new(handles_.front().get()));
  if (!session || SSL_set_fd(session.get(), socket) != 1) return nullptr;
  SSL_set_connect_state(session.get());
  SSL_set_hostflags(session.get(), X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
  if (is_address(host)) {
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(session.get()), host.c_str()) != 1) {
      return nullptr;
    }
  } else if (SSL_set1_host(session.get(), host.c_str()) != 1 ||
             SSL_set_tlsext_host_name(session.get(), host.c_str()) != 1) {
    return nullptr;
  }
  return session;
}

}  // namespace sluice::net
