#include "net/server.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <latch>
#include <thread>

#include "base/json.h"
#include "base/log.h"
#include "net/connection.h"
#include "net/event_loop.h"
#include "net/server_context.h"
#include "net/socket.h"

namespace sluice::net {

namespace {

constexpr int kAcceptsPerRound = 64;
constexpr uint64_t kRefusingConnections = 64;  // over the limit, while they are told so
constexpr auto kAcceptPause = std::chrono::milliseconds(100);

HttpResponse plain_error(int status, std::string_view message, std::string_view) {
  const json::object error{{"message", message},
                           {"type", status < 500 ? "invalid_request_error" : "server_error"},
                           {"param", nullptr},
                           {"code", status}};
  return {.status = status,
          .headers = {{"Content-Type", "application/json"}},
          .body = json::serialize(json::object{{"error", error}})};
}

// Accepts on the first loop and deals the connections out in turn.
class Listener final : public EventLoop::Watcher {
 public:
  Listener(Fd socket, std::shared_ptr<ServerContext> context,
           const std::vector<std::shared_ptr<ServerLoop>>& loops)
      : socket_(std::move(socket)),
        context_(std::move(context)),
        loops_(loops),
        resume_(*loops_.front()->events, [this] { watch(); }) {}

  Outcome begin() { return events().watch(socket_.get(), EPOLLIN, this); }

  void on_events(uint32_t) override {
    for (int i = 0; i < kAcceptsPerRound && socket_.valid(); ++i) {
      if (!accept_one()) return;
    }
  }

  void end() {
    resume_.disarm();
    if (!socket_.valid()) return;
    events().unwatch(socket_.get());
    socket_.reset();
  }

 private:
  EventLoop& events() { return *loops_.front()->events; }

  void watch() {
    if (socket_.valid()) events().rewatch(socket_.get(), EPOLLIN, this);
  }

  bool accept_one() {
    SocketAddress address;
    address.length = sizeof(address.storage);
    Fd fd(::accept4(socket_.get(), reinterpret_cast<sockaddr*>(&address.storage), &address.length,
                    SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (!fd.valid()) {
      if (errno == ECONNABORTED || errno == EINTR) return true;
      if (errno != EAGAIN) pause(errno);
      return false;
    }
    ++context_->accepted;
    const uint64_t open = context_->open;
    const bool full = open >= context_->limits.connections;
    if (open >= context_->limits.connections + kRefusingConnections) {
      context_->count_rejection("too_many_connections");
      return true;
    }
    if (address.storage.ss_family != AF_UNIX) set_no_delay(fd.get());
    const auto& loop = loops_[next_++ % loops_.size()];
    auto connection =
        std::make_shared<Connection>(context_, loop, std::move(fd), address_text(address));
    const auto begin = [connection, full, raw = loop.get(), context = context_] {
      if (full && !raw->close_longest_idle()) return connection->begin_refusing();
      if (full) context->count_rejection("idle_evicted");
      connection->begin();
    };
    loop->events->on_thread() ? begin() : loop->events->post(begin);
    return true;
  }

  // Out of descriptors or memory: the listening socket stays readable, so spinning is avoided by
  // looking away for a moment.
  void pause(int error) {
    log_warn("cannot accept connections: {}", errno_text("accept", error));
    context_->count_rejection("accept_failed");
    events().rewatch(socket_.get(), 0, this);
    resume_.set(EventLoop::now() + kAcceptPause);
  }

  Fd socket_;
  const std::shared_ptr<ServerContext> context_;
  const std::vector<std::shared_ptr<ServerLoop>>& loops_;
  EventLoop::Timer resume_;
  size_t next_ = 0;
};

void run_on(EventLoop& loop, const std::function<void()>& action) {
  std::latch done(1);
  loop.post([&] {
    action();
    done.count_down();
  });
  done.wait();
}

std::vector<std::shared_ptr<Connection>> connections_of(const ServerLoop& loop) {
  std::vector<std::shared_ptr<Connection>> all;
  all.reserve(loop.connections.size());
  for (const auto& [raw, shared] : loop.connections) all.push_back(shared);
  return all;
}

}  // namespace

struct HttpServer::Impl {
  std::shared_ptr<ServerContext> context;
  std::vector<std::shared_ptr<ServerLoop>> loops;
  std::unique_ptr<Listener> listener;
  std::vector<std::thread> threads;
  uint16_t port = 0;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Result<std::unique_ptr<HttpServer>> HttpServer::start(ServerOptions options,
                                                      std::shared_ptr<HttpHandler> handler) {
  if (options.io_threads < 1 || options.io_threads > 64) {
    return invalid(fmt::format("io_threads must be 1 to 64, is {}", options.io_threads));
  }
  auto impl = std::make_unique<Impl>();
  Fd socket;
  if (options.listen_fd) {
    socket = Fd(*options.listen_fd);
    set_non_blocking(socket.get());
  } else {
    SLUICE_ASSIGN_OR_RETURN(socket, listen_on(options.host, options.port));
  }
  impl->port = local_port(socket.get());
  if (!options.error_body) options.error_body = plain_error;
  impl->context = std::make_shared<ServerContext>(options.limits, std::move(options.error_body),
                                                  std::move(handler));
  impl->context->tls = std::move(options.tls);
  impl->context->trusted_proxies = std::move(options.trusted_proxies);
  for (int i = 0; options.loops.empty() && i < options.io_threads; ++i) {
    SLUICE_ASSIGN_OR_RETURN(auto events, EventLoop::create());
    impl->loops.push_back(std::make_shared<ServerLoop>(std::move(events)));
  }
  for (const auto& events : options.loops) {
    impl->loops.push_back(std::make_shared<ServerLoop>(events));
  }
  impl->listener = std::make_unique<Listener>(std::move(socket), impl->context, impl->loops);
  SLUICE_RETURN_IF_ERROR(impl->listener->begin());
  for (const auto& loop : impl->loops) {
    impl->threads.emplace_back([events = loop->events] { events->run(); });
  }
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::~HttpServer() {
  stop_accepting();
  for (const auto& loop : impl_->loops) {
    loop->events->post([&loop] {
      for (const auto& connection : connections_of(*loop)) connection->close();
    });
    loop->events->stop();
  }
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->listener.reset();
  // A Responder still held somewhere keeps the context; it must not keep the handler too.
  impl_->context->handler.reset();
}

uint16_t HttpServer::port() const { return impl_->port; }

void HttpServer::set_tls(std::shared_ptr<const TlsContext> tls) {
  impl_->context->tls = std::move(tls);
}

void HttpServer::stop_accepting() {
  run_on(*impl_->loops.front()->events, [this] { impl_->listener->end(); });
}

bool HttpServer::drain(Duration patience) {
  impl_->context->draining = true;
  stop_accepting();
  for (const auto& loop : impl_->loops) {
    run_on(*loop->events, [&loop] {
      for (const auto& connection : connections_of(*loop)) connection->drain();
    });
  }
  return impl_->context->wait_idle(patience);
}

ServerStats HttpServer::stats() const {
  const ServerContext& context = *impl_->context;
  ServerStats stats{.connections_accepted = context.accepted,
                    .connections_open = context.open,
                    .requests_started = context.requests,
                    .requests_in_flight = context.in_flight,
                    .bytes_received = context.received,
                    .bytes_sent = context.sent,
                    .rejected = {}};
  for (const auto& [reason, count] : context.rejections()) {
    stats.rejected.emplace_back(reason, count);
  }
  return stats;
}

}  // namespace sluice::net
