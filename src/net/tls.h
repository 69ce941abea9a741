// TLS 1.2 and 1.3 by OpenSSL: who we are, whom we believe. No sockets here; see net/stream.h.
//
// A TlsContext is immutable, may be shared by any number of connections and read on any thread.
// New certificates mean a new context; connections made with the old one keep it.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/status.h"

struct ssl_ctx_st;  // OpenSSL's SSL_CTX
struct ssl_st;      // OpenSSL's SSL

namespace sluice::net {

// PEM files: the certificate with the chain behind it, and its private key.
struct TlsIdentity {
  std::string certificate_file;
  std::string key_file;
  bool operator==(const TlsIdentity&) const = default;
};

struct TlsServerOptions {
  // A client's server name (SNI) chooses the first whose certificate names it; without one, or
  // where none does, the first of all answers.
  std::vector<TlsIdentity> identities;
  // PEM file of the authorities that client certificates are checked against; empty: no client is
  // asked for one.
  std::string client_ca_file = {};
  bool client_certificate_required = true;  // where there is a client_ca_file
  bool operator==(const TlsServerOptions&) const = default;
};

struct TlsClientOptions {
  std::string ca_file = {};   // PEM; empty: the system's authorities
  TlsIdentity identity = {};  // shown to servers that ask; empty: none
  std::string ca_pem = {};    // authorities besides ca_file's, in PEM form themselves
  bool verify = true;         // false: any certificate is taken, whatever it names
  bool operator==(const TlsClientOptions&) const = default;
};

class TlsContext {
 public:
  // Fail with the file's name and OpenSSL's reason when a file cannot be read, is no certificate
  // or key, or the two do not belong together.
  static Result<std::shared_ptr<const TlsContext>> for_server(const TlsServerOptions& options);
  static Result<std::shared_ptr<const TlsContext>> for_client(const TlsClientOptions& options);

  struct Free {
    void operator()(ssl_st* ssl) const;
    void operator()(ssl_ctx_st* context) const;
  };
  using Session = std::unique_ptr<ssl_st, Free>;

  // One connection's side over the socket; null when memory is short. The caller keeps both alive.
  Session accept(int socket) const;
  // `host`, a name or an address, is what the server's certificate must name.
  Session connect(int socket, const std::string& host) const;

 private:
  using Handle = std::unique_ptr<ssl_ctx_st, Free>;

  TlsContext() = default;
  static int choose_identity(ssl_st* ssl, int* alert, void* self);

  std::vector<Handle> handles_;  // of a server: one for each identity
};

// The oldest error of this thread in OpenSSL's queue, in words; the queue is emptied.
std::string tls_error();

}  // namespace sluice::net
