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
    socket_ =
        Fd(::socket(address.storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!socket_.valid()) {
      connect_error_ = errno_text("cannot open a socket", errno);
      continue;
    }
    set_no_delay(socket_.get());
    const int error = ::connect(socket_.get(), address.raw(), address.length) == 0 ? 0 : errno;
    if (error == 0 || error == EINPROGRESS) {
      interest_ = EPOLLOUT;
      if (auto watched = loop_.watch(socket_.get(), interest_, this); !watched) {
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
  fail({Code::kUnavailable,
        connect_error_,
        {},
        std::string(reached_out_ ? kNotConnected : kNotSent)});
}

void ClientConnection::on_connected() {
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  connecting_ = false;
  if (error != 0) {
    reached_out_ = reached_out_ || !is_of_this_side(error);
    connect_error_ = errno_text(fmt::format("cannot connect to {}", origin_), error);
    loop_.unwatch(socket_.get());
    return connect_next();
  }
  set_deadline(exchange_->first_byte_timeout);
  send_more();
}

void ClientConnection::set_interest(uint32_t events) {
  if (closed_ || events == interest_) return;
  interest_ = events;
  loop_.rewatch(socket_.get(), events, this);
}

void ClientConnection::on_events(uint32_t events) {
  if (closed_) return;
  if (connecting_) return on_connected();
  if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) receive();
  if (!closed_ && (events & EPOLLOUT) != 0) send_more();
}

void ClientConnection::send_more() {
  if (!exchange_) return;
  const std::string& bytes = exchange_->bytes;
  while (sent_ < bytes.size()) {
    const ssize_t count =
        ::send(socket_.get(), bytes.data() + sent_, bytes.size() - sent_, MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) return set_interest(EPOLLIN | EPOLLOUT);
    // The server has closed; what it said before that is still there to be read.
    if (count < 0) break;
    sent_ += static_cast<size_t>(count);
  }
  set_interest(EPOLLIN);
}

void ClientConnection::receive() {
  const std::span<char> space = loop_.scratch();
  const ssize_t count = ::recv(socket_.get(), space.data(), space.size(), 0);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (!exchange_) return close();  // an idle connection: closed, or bytes that nobody asked for
  if (count > 0) {
    set_deadline(exchange_->read_timeout);
    return consume({space.data(), static_cast<size_t>(count)});
  }
  if (reused_ && !parser_->begun() && exchange_->may_repeat) {
    auto exchange = std::move(exchange_);
    close();
    return pool_.on_stale(std::move(exchange));
  }
  if (reused_ && !parser_->begun()) {
    return fail({Code::kUnavailable,
                 "a kept connection was closed as it was used again",
                 {},
                 std::string(kStaleConnection)});
  }
  if (count < 0) return fail({Code::kUnavailable, errno_text("the connection broke", errno)});
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
  const std::shared_ptr<ClientExchange> exchange = std::move(exchange_);
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
  if (connecting_) {
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
  const std::shared_ptr<ClientExchange> exchange = std::move(exchange_);
  close();
  if (exchange) exchange->end(std::unexpected(std::move(status)));
}

void ClientConnection::close() {
  if (std::exchange(closed_, true)) return;
  deadline_.disarm();
  if (socket_.valid()) loop_.unwatch(socket_.get());
  socket_.reset();
  pool_.on_closed(this);
}

}  // namespace sluice::net
