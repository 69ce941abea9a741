#include "net/client_connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <utility>

namespace sluice::net {

namespace {

// Whether connect() failed for want of something that this machine has too little of or forbids.
bool is_of_this_side(int error) {
  return error == EADDRNOTAVAIL || error == EAGAIN || error == ENOBUFS || error == ENOMEM ||
         error == EMFILE || error == ENFILE || error == EPERM || error == EACCES;
}

}  // namespace

void ClientExchange::end(Outcome outcome) {
  if (std::exchange(ended, true)) return;
  connection = nullptr;
  // What the callbacks own may end with them, and this exchange with that.
  const ClientCallbacks told = std::move(callbacks);
  callbacks = {};
  if (told.on_end) told.on_end(std::move(outcome));
}

ClientExchange::~ClientExchange() { end(sluice::fail(Code::kCancelled, "the client was closed")); }

ClientConnection::ClientConnection(EventLoop& loop, const ClientOptions& options, Pool& pool)
    : loop_(loop), options_(options), pool_(pool), deadline_(loop, [this] { on_deadline(); }) {}

void ClientConnection::begin(std::shared_ptr<ClientExchange> exchange,
                             std::optional<Addresses> addresses) {
  exchange_ = std::move(exchange);
  exchange_->connection = this;
  origin_ = exchange_->origin;
  tls_ = exchange_->tls;
  parser_.emplace(options_.max_header_bytes, exchange_->head_only);
  set_deadline(exchange_->connect_timeout);
  if (addresses) {
    addresses_ = *std::move(addresses);
    return connect_next();
  }
  resolving_ = true;
}

void ClientConnection::found(const Result<Addresses>& addresses) {
  if (!std::exchange(resolving_, false)) return;
  if (!addresses) {
    return fail({Code::kUnavailable, addresses.error().message(), {}, std::string(kNotResolved)});
  }
  addresses_ = *addresses;
  connect_next();
}

void ClientConnection::reuse(std::shared_ptr<ClientExchange> exchange) {
  exchange_ = std::move(exchange);
  exchange_->connection = this;
  parser_.emplace(options_.max_header_bytes, exchange_->head_only);
  reused_ = true;
  sent_ = 0;
  set_deadline(exchange_->first_byte_timeout);
  send_more();
}

void ClientConnection::connect_next() {
  while (next_address_ < addresses_.size()) {
    const SocketAddress& address = addresses_[next_address_++];
    if (options_.may_connect != nullptr && !options_.may_connect(address)) {
      forbidden_ = true;
      continue;
    }
    stream_ = Stream(
        Fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
    if (!stream_.valid()) {
      connect_error_ = errno_text("cannot open a socket", errno);
      continue;
    }
    set_no_delay(stream_.fd());
    const int error = ::connect(stream_.fd(), address.raw(), address.length) == 0 ? 0 : errno;
    if (error == 0 || error == EINPROGRESS) {
      interest_ = EPOLLOUT;
      if (auto watched = loop_.watch(stream_.fd(), interest_, this); !watched) {
        connect_error_ = watched.error().message();
        continue;
      }
      connecting_ = true;
      return;
    }
    reached_out_ = reached_out_ || !is_of_this_side(error);
    connect_error_ = errno_text(fmt::format("cannot connect to {}", address_text(address)), error);
  }
  fail_connecting();
}

void ClientConnection::fail_connecting() {
  if (forbidden_ && connect_error_.empty()) {
    return fail({Code::kPermissionDenied,
                 fmt::format("{} stands for no address that may be called", exchange_->host),
                 {},
                 std::string(kNotSent)});
  }
  fail({Code::kUnavailable,
        connect_error_,
        {},
        std::string(reached_out_ ? kNotConnected : kNotSent)});
}

void ClientConnection::on_connected() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(stream_.fd(), SOL_SOCKET, SO_ERROR, &error, &length);
  connecting_ = false;
  if (error != 0) {
    reached_out_ = reached_out_ || !is_of_this_side(error);
    connect_error_ = errno_text(fmt::format("cannot connect to {}", origin_), error);
    loop_.unwatch(stream_.fd());
    return connect_next();
  }
  if (tls_) {
    stream_.connect_tls(*tls_, exchange_->tls_name);
    securing_ = true;
    return secure();
  }
  set_deadline(exchange_->first_byte_timeout);
  send_more();
}

// Within the connection's deadline.
void ClientConnection::secure() {
  const Stream::State state = stream_.handshake();
  if (state == Stream::State::kBlocked) {
    return set_interest(stream_.wants_write() ? EPOLLOUT : EPOLLIN);
  }
  if (state != Stream::State::kDone) {
    connect_error_ =
        fmt::format("no secure connection to {}: {}", exchange_->host, stream_.error());
    reached_out_ = true;
    return fail_connecting();
  }
  securing_ = false;
  set_deadline(exchange_->first_byte_timeout);
  send_more();
}

void ClientConnection::set_interest(uint32_t events) {
  if (closed_ || events == interest_) return;
  interest_ = events;
  loop_.rewatch(stream_.fd(), events, this);
}

void ClientConnection::on_events(uint32_t events) {
  if (closed_) return;
  if (connecting_) return on_connected();
  if (securing_) return secure();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
  if (!closed_ && (events & EPOLLOUT) != 0) send_more();
}

void ClientConnection::send_more() {
  if (!exchange_) return;
  const std::string& bytes = exchange_->bytes;
  while (sent_ < bytes.size()) {
    const Stream::Moved moved = stream_.write(std::string_view(bytes).substr(sent_));
    if (moved.state == Stream::State::kBlocked) return set_interest(EPOLLIN | EPOLLOUT);
    // The server has closed; what it said before that is still there to be read.
    if (moved.state == Stream::State::kBroken) break;
    sent_ += moved.bytes;
  }
  set_interest(EPOLLIN);
}

void ClientConnection::receive() {
  receive_once();
  while (!closed_ && stream_.unread()) receive_once();
}

void ClientConnection::receive_once() {
  const std::span<char> space = loop_.scratch();
  const Stream::Moved moved = stream_.read(space);
  if (moved.state == Stream::State::kBlocked) return;
  if (!exchange_) return close();  // an idle connection: closed, or bytes that nobody asked for
  if (moved.state == Stream::State::kDone) {
    set_deadline(exchange_->read_timeout);
    return consume({space.data(), moved.bytes});
  }
  if (reused_ && !parser_->begun() && exchange_->may_repeat) {
    auto exchange = std::exchange(exchange_, nullptr);
    close();
    return pool_.on_stale(std::move(exchange));
  }
  if (reused_ && !parser_->begun()) {
    return fail({Code::kUnavailable,
                 "a kept connection was closed as it was used again",
                 {},
                 std::string(kStaleConnection)});
  }
  if (moved.state == Stream::State::kBroken) return fail({Code::kUnavailable, stream_.error()});
  if (auto ended = parser_->end_of_input(); !ended) return fail(ended.error());
  answer_done();
}

void ClientConnection::consume(std::string_view bytes) {
  // A callback may cancel, which ends the exchange under way.
  const std::shared_ptr<ClientExchange> exchange = exchange_;
  if (sent_ == exchange->bytes.size()) {  // answers may go on for long; requests may be large
    exchange->bytes = {};
    sent_ = 0;
  }
  while (!closed_ && !bytes.empty()) {
    std::string_view data;
    bytes.remove_prefix(parser_->feed(bytes, data));
    if (data.size() > exchange->body_left) {
      return fail({Code::kTooLarge, "the answer's body is larger than is taken here"});
    }
    exchange->body_left -= data.size();
    if (!data.empty() && exchange->callbacks.on_data) exchange->callbacks.on_data(data);
    if (parser_->state() == ResponseParser::State::kHeadDone) {
      if (exchange->callbacks.on_head) {
        exchange->callbacks.on_head(parser_->status(), parser_->headers());
      }
      parser_->accept_body();
    }
    if (parser_->state() == ResponseParser::State::kFault) {
      return fail({Code::kUnavailable, parser_->fault()});
    }
    if (parser_->state() == ResponseParser::State::kDone) {
      surplus_ = !bytes.empty();
      return answer_done();
    }
  }
}

void ClientConnection::answer_done() {
  const std::shared_ptr<ClientExchange> exchange = std::exchange(exchange_, nullptr);
  const bool again =
      !exchange->closes && parser_->keep_alive() && sent_ == exchange->bytes.size() && !surplus_;
  if (again) {
    deadline_.set(EventLoop::now() + options_.idle_timeout);
    pool_.on_idle(this);
  } else {
    close();
  }
  exchange->end({});
}

void ClientConnection::set_deadline(Duration patience) {
  deadline_.set(std::min(EventLoop::now() + patience, exchange_->deadline));
}

void ClientConnection::on_deadline() {
  if (!exchange_) return close();
  if (resolving_) {
    return fail({Code::kUnavailable,
                 fmt::format("the address of {} was not found in time", origin_),
                 {},
                 std::string(kNotResolved)});
  }
  if (connecting_ || securing_) {
    return fail({Code::kDeadlineExceeded,
                 fmt::format("no connection to {} in time", origin_),
                 {},
                 std::string(kNotConnected)});
  }
  const bool out_of_time = EventLoop::now() >= exchange_->deadline;
  fail({Code::kDeadlineExceeded,
        fmt::format("no answer from {} in time", origin_),
        {},
        std::string(out_of_time ? kOutOfTime : "")});
}

void ClientConnection::fail(Status status) {
  const std::shared_ptr<ClientExchange> exchange = std::exchange(exchange_, nullptr);
  close();
  if (exchange) exchange->end(std::unexpected(std::move(status)));
}

void ClientConnection::close() {
  if (std::exchange(closed_, true)) return;
  deadline_.disarm();
  if (stream_.valid()) loop_.unwatch(stream_.fd());
  stream_.close();
  pool_.on_closed(this);
}

}  // namespace sluice::net
