// A connected, non-blocking socket, in the clear or under TLS: the same calls for both.
//
// Belongs to one event loop's thread. With TLS nothing may be read or written before handshake()
// has said kDone. The context must outlive the stream.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "net/socket.h"
#include "net/tls.h"

namespace sluice::net {

class Stream {
 public:
  enum class State {
    kDone,     // bytes were moved; the handshake is over
    kBlocked,  // a read or handshake: again when the socket is readable, or writable if
               // wants_write(); a write: when it is writable
    kEnd,      // the other side has ended what it sends
    kBroken,   // nothing more will come or go; error() says why
  };
  struct Moved {
    State state = State::kDone;
    size_t bytes = 0;
  };

  Stream() = default;
  explicit Stream(Fd socket) : socket_(std::move(socket)) {}
  // The side of a server.
  void accept_tls(const TlsContext& tls);
  // The side of a client that wants to talk to `host`.
  void connect_tls(const TlsContext& tls, const std::string& host);

  int fd() const { return socket_.get(); }
  bool valid() const { return socket_.valid(); }
  bool secured() const { return session_ != nullptr; }

  // At once kDone without TLS.
  State handshake();
  Moved read(std::span<char> space);
  Moved write(std::string_view bytes);
  // Tells the other side that nothing more is sent; reading goes on.
  void end_output();
  void close();

  // What TLS did last waits for room to write.
  bool wants_write() const { return wants_write_; }
  // Bytes, or the end, lie here that the socket will not announce again.
  bool unread() const;
  // What came first were the bytes of plain HTTP.
  bool spoke_plain_http() const { return plain_http_; }
  // Why it is broken, in words.
  const std::string& error() const { return error_; }

 private:
  State judge(int result);

  Fd socket_;
  TlsContext::Session session_;
  bool wants_write_ = false;
  bool unread_end_ = false;
  bool plain_http_ = false;
  bool secure_failed_ = false;
  std::string error_;
};

}  // namespace sluice::net
