// One connection of HttpClient: connects, sends a request, reads its answer, waits in the pool.
//
// Belongs to the client's loop; every method is for the loop's thread.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "net/client.h"
#include "net/event_loop.h"
#include "net/response_parser.h"
#include "net/stream.h"

namespace sluice::net {

class ClientConnection;

// A request under way. Made on the caller's thread, then the loop's.
struct ClientExchange {
  ClientCallbacks callbacks;
  std::string origin;  // "host:port" and how it is secured: the pool's key
  std::string host;
  std::string tls_name;  // that the server's certificate must name
  uint16_t port = 0;
  std::shared_ptr<const TlsContext> tls;  // none: in the clear
  std::string bytes;                      // head and body
  bool head_only = false;
  bool closes = false;      // it says "Connection: close": the connection is not used again
  bool may_repeat = false;  // the method promises that a second try does no harm
  bool ended = false;
  size_t body_left = 0;  // of what the caller takes
  TimePoint deadline = TimePoint::max();
  Duration connect_timeout{};
  Duration first_byte_timeout{};
  Duration read_timeout{};
  ClientConnection* connection = nullptr;  // that it is on

  // Also from the destructor: an exchange that is dropped with its loop was cancelled.
  void end(Outcome outcome);
  ~ClientExchange();
};

class ClientConnection final : public EventLoop::Watcher {
 public:
  // What the pool does when an exchange is over: takes the connection back, drops it, or tries the
  // exchange again on another connection.
  struct Pool {
    virtual void on_idle(ClientConnection* connection) = 0;
    virtual void on_closed(ClientConnection* connection) = 0;
    virtual void on_stale(std::shared_ptr<ClientExchange> exchange) = 0;

   protected:
    ~Pool() = default;
  };

  using Addresses = std::vector<SocketAddress>;

  ClientConnection(EventLoop& loop, const ClientOptions& options, Pool& pool);

  // Connects first, once the addresses are known: if not yet, found() brings them.
  void begin(std::shared_ptr<ClientExchange> exchange, std::optional<Addresses> addresses);
  void found(const Result<Addresses>& addresses);
  void reuse(std::shared_ptr<ClientExchange> exchange);
  void fail(Status status);  // ends the exchange with it and closes
  void on_events(uint32_t events) override;

  const ClientExchange* exchange() const { return exchange_.get(); }
  const std::string& origin() const { return origin_; }

 private:
  void connect_next();
  void fail_connecting();
  void on_connected();
  void secure();
  void send_more();
  void receive();
  void receive_once();
  void consume(std::string_view bytes);
  void answer_done();
  void close();
  void set_interest(uint32_t events);
  void on_deadline();
  void set_deadline(Duration patience);

  EventLoop& loop_;
  const ClientOptions& options_;
  Pool& pool_;
  std::string origin_;
  std::shared_ptr<const TlsContext> tls_;
  Stream stream_;
  uint32_t interest_ = 0;
  std::shared_ptr<ClientExchange> exchange_;
  std::optional<ResponseParser> parser_;
  Addresses addresses_;
  size_t next_address_ = 0;
  size_t sent_ = 0;
  bool resolving_ = false;
  bool connecting_ = false;
  bool reached_out_ = false;  // some address did not fail for want of something on this side
  bool forbidden_ = false;    // some address is none that may be connected to
  bool securing_ = false;
  bool reused_ = false;
  bool surplus_ = false;  // bytes came behind an answer: not to be used again
  bool closed_ = false;
  std::string connect_error_;
  EventLoop::Timer deadline_;
};

}  // namespace sluice::net
