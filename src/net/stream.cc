#include "net/stream.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <sys/socket.h>

#include <cerrno>

namespace sluice::net {

void Stream::accept_tls(const TlsContext& tls) {
  session_ = tls.accept(socket_.get());
  secure_failed_ = session_ == nullptr;
}

void Stream::connect_tls(const TlsContext& tls, const std::string& host) {
  session_ = tls.connect(socket_.get(), host);
  secure_failed_ = session_ == nullptr;
}

Stream::State Stream::handshake() {
  if (secure_failed_) {
    error_ = "TLS could not be begun: " + tls_error();
    return State::kBroken;
  }
  if (!session_ || SSL_is_init_finished(session_.get())) return State::kDone;
  ERR_clear_error();
  const State state = judge(SSL_do_handshake(session_.get()));
  if (state == State::kEnd) {
    error_ = "the other side left during the TLS handshake";
    return State::kBroken;
  }
  return state;
}

// What OpenSSL's result means; ERR_clear_error() came before the call.
Stream::State Stream::judge(int result) {
  const int system_error = errno;
  wants_write_ = false;
  if (result > 0) return State::kDone;
  switch (SSL_get_error(session_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return State::kBlocked;
    case SSL_ERROR_WANT_WRITE:
      wants_write_ = true;
      return State::kBlocked;
    case SSL_ERROR_ZERO_RETURN:
      return State::kEnd;
    case SSL_ERROR_SYSCALL:
      error_ = system_error != 0 ? errno_text("the connection broke", system_error)
                                 : "the connection ended";
      ERR_clear_error();
      return State::kBroken;
    default:
      break;
  }
  const unsigned long code = ERR_peek_error();
  const long verified = SSL_get_verify_result(session_.get());
  // A connection that ends without TLS's farewell: HTTP's own framing tells whether it was cut.
  if (ERR_GET_LIB(code) == ERR_LIB_SSL &&
      ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
    ERR_clear_error();
    return State::kEnd;
  }
  plain_http_ = ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) == SSL_R_HTTP_REQUEST;
  error_ = "TLS: " + tls_error();
  if (verified != X509_V_OK) {
    error_ += " (";
    error_ += X509_verify_cert_error_string(verified);
    error_ += ")";
  }
  return State::kBroken;
}

Stream::Moved Stream::read(std::span<char> space) {
  if (!session_) {
    const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), 0);
    if (count > 0) return {State::kDone, static_cast<size_t>(count)};
    if (count == 0) return {State::kEnd};
    if (errno == EAGAIN || errno == EINTR) return {State::kBlocked};
    error_ = errno_text("the connection broke", errno);
    return {State::kBroken};
  }
  // A record at a time, until the space is full or the socket is empty.
  size_t total = 0;
  while (total < space.size()) {
    size_t count = 0;
    ERR_clear_error();
    const int result =
        SSL_read_ex(session_.get(), space.data() + total, space.size() - total, &count);
    const State state = judge(result);
    if (state == State::kDone) {
      total += count;
      continue;
    }
    if (total == 0) return {state};
    unread_end_ = state != State::kBlocked;
    break;
  }
  return {State::kDone, total};
}

Stream::Moved Stream::write(std::string_view bytes) {
  if (!session_) {
    const ssize_t count = ::send(socket_.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (count >= 0) return {State::kDone, static_cast<size_t>(count)};
    if (errno == EAGAIN || errno == EINTR) return {State::kBlocked};
    error_ = errno_text("the connection broke", errno);
    return {State::kBroken};
  }
  size_t count = 0;
  ERR_clear_error();
  const State state = judge(SSL_write_ex(session_.get(), bytes.data(), bytes.size(), &count));
  if (state == State::kEnd) return {State::kBroken};
  return {state, count};
}

void Stream::end_output() {
  if (session_ && SSL_is_init_finished(session_.get())) {
    ERR_clear_error();
    SSL_shutdown(session_.get());
    ERR_clear_error();
  }
  ::shutdown(socket_.get(), SHUT_WR);
}

void Stream::close() {
  session_.reset();
  socket_.reset();
}

bool Stream::unread() const { return session_ && (unread_end_ || SSL_pending(session_.get()) > 0); }

}  // namespace sluice::net
