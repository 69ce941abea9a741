#include "net/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <latch>
#include <map>
#include <optional>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "net/client_connection.h"
#include "net/event_loop.h"
#include "net/name_cache.h"
#include "net/syntax.h"
#include "net/url.h"

namespace sluice::net {

namespace {

Result<std::string> request_bytes(const ClientRequest& request, const Url& url) {
  if (!is_token(request.method)) return invalid("the request's method is no HTTP token");
  if (!is_field_value(request.host)) return invalid("the request's host is no Host field");
  std::string bytes = fmt::format("{} {} HTTP/1.1\r\nHost: {}\r\n", request.method, url.target,
                                  request.host.empty() ? url.authority : request.host);
  for (const auto& [name, value] : request.headers) {
    if (!is_token(name) || !is_field_value(value)) {
      return invalid(fmt::format("the header field '{}' holds a character that none may", name));
    }
    bytes.append(name).append(": ").append(value).append("\r\n");
  }
  if (!request.body.empty() || request.method == "POST" || request.method == "PUT") {
    bytes += fmt::format("Content-Length: {}\r\n", request.body.size());
  }
  bytes.append("\r\n").append(request.body);
  return bytes;
}

// Trusts the system's authorities and shows no certificate.
Result<std::shared_ptr<const TlsContext>> system_tls() {
  static const auto context = TlsContext::for_client({});
  return context;
}

}  // namespace

struct HttpClient::Impl final : ClientConnection::Pool,
                                std::enable_shared_from_this<HttpClient::Impl> {
  explicit Impl(ClientOptions client_options) : options(client_options) {}

  const ClientOptions options;
  std::shared_ptr<EventLoop> loop;
  Status unusable{Code::kUnavailable, ""};  // why, when `loop` is null
  std::thread thread;
  std::atomic<bool> stopping{false};

  // Loop's thread only.
  std::unordered_map<ClientConnection*, std::shared_ptr<ClientConnection>> connections;
  std::map<std::string, std::vector<ClientConnection*>> idle;

  Result<std::shared_ptr<ClientExchange>> prepare(ClientRequest& request);
  void start(std::shared_ptr<ClientExchange> exchange);
  std::optional<ClientConnection::Addresses> find_addresses(
      const std::shared_ptr<ClientExchange>& exchange);
  void cancel(const std::shared_ptr<ClientExchange>& exchange);
  void close_all();
  bool make_room();

  void on_idle(ClientConnection* connection) override;
  void on_closed(ClientConnection* connection) override;
  void on_stale(std::shared_ptr<ClientExchange> exchange) override;
};

Result<std::shared_ptr<ClientExchange>> HttpClient::Impl::prepare(ClientRequest& request) {
  if (!loop) return std::unexpected(unusable);
  SLUICE_ASSIGN_OR_RETURN(const Url url, parse_url(request.url));
  auto exchange = std::make_shared<ClientExchange>();
  exchange->origin = fmt::format("{}:{}", url.host, url.port);
  exchange->host = url.host;
  exchange->port = url.port;
  if (url.scheme == "https") {
    SLUICE_ASSIGN_OR_RETURN(exchange->tls, request.tls ? request.tls : system_tls());
    // The context lives as long as a connection made with it, so its address is its name.
    exchange->tls_name = request.tls_name.empty() ? url.host : request.tls_name;
    exchange->origin += fmt::format(" {} {}", exchange->tls_name, fmt::ptr(exchange->tls.get()));
  }
  SLUICE_ASSIGN_OR_RETURN(exchange->bytes, request_bytes(request, url));
  // RFC 9112 §9.6: whoever sends it sends no further request; the server may not repeat it.
  exchange->closes = std::ranges::any_of(request.headers, [](const auto& header) {
    return equals_ignoring_case(header.first, "connection") &&
           equals_ignoring_case(header.second, "close");
  });
  exchange->head_only = request.method == "HEAD";
  exchange->may_repeat = request.method != "POST" && request.method != "PATCH";
  return exchange;
}

// An idle connection to elsewhere gives way to a new one. False when all are in use.
bool HttpClient::Impl::make_room() {
  if (connections.size() < options.max_connections) return true;
  for (const auto& [origin, waiting] : idle) {
    if (waiting.empty()) continue;
    waiting.front()->fail({Code::kCancelled, "closed"});
    return true;
  }
  return false;
}

void HttpClient::Impl::start(std::shared_ptr<ClientExchange> exchange) {
  if (exchange->ended) return;
  const auto waiting = idle.find(exchange->origin);
  if (waiting != idle.end() && !waiting->second.empty()) {
    ClientConnection* connection = waiting->second.back();
    waiting->second.pop_back();
    return connection->reuse(std::move(exchange));
  }
  if (!make_room()) {
    return exchange->end(
        fail(Code::kResourceExhausted,
             fmt::format("{} connections are in use; wait for one to end", options.max_connections),
             {}, std::string(kNotSent)));
  }
  auto connection = std::make_shared<ClientConnection>(*loop, options, *this);
  connections.emplace(connection.get(), connection);
  auto addresses = find_addresses(exchange);
  connection->begin(std::move(exchange), std::move(addresses));
}

// What is not known yet is brought to the exchange's connection later.
std::optional<ClientConnection::Addresses> HttpClient::Impl::find_addresses(
    const std::shared_ptr<ClientExchange>& exchange) {
  NameCache& names = options.names != nullptr ? *options.names : NameCache::shared();
  const auto done = [weak = weak_from_this(),
                     waiting = std::weak_ptr(exchange)](const Result<NameCache::Addresses>& found) {
    const auto owner = weak.lock();
    if (!owner) return;
    owner->loop->post([weak, waiting, found] {
      const auto client = weak.lock();
      const auto target = waiting.lock();
      if (!client || !target || target->ended) return;
      const auto at = client->connections.find(target->connection);
      if (at == client->connections.end()) return;
      const std::shared_ptr<ClientConnection> kept = at->second;
      kept->found(found);
    });
  };
  return names.find(exchange->host, exchange->port, done);
}

void HttpClient::Impl::cancel(const std::shared_ptr<ClientExchange>& exchange) {
  if (exchange->ended) return;
  const auto found = connections.find(exchange->connection);
  if (found != connections.end()) {
    const std::shared_ptr<ClientConnection> kept = found->second;
    return kept->fail({Code::kCancelled, "the request was cancelled"});
  }
  exchange->end(fail(Code::kCancelled, "the request was cancelled"));
}

void HttpClient::Impl::close_all() {
  while (!connections.empty()) {
    const std::shared_ptr<ClientConnection> connection = connections.begin()->second;
    connection->fail({Code::kCancelled, "the client was closed"});
  }
}

void HttpClient::Impl::on_idle(ClientConnection* connection) {
  idle[connection->origin()].push_back(connection);
}

void HttpClient::Impl::on_closed(ClientConnection* connection) {
  const auto waiting = idle.find(connection->origin());
  if (waiting != idle.end()) {
    std::erase(waiting->second, connection);
    if (waiting->second.empty()) idle.erase(waiting);
  }
  auto node = connections.extract(connection);
  if (!node.empty()) loop->retire(std::move(node.mapped()));
}

void HttpClient::Impl::on_stale(std::shared_ptr<ClientExchange> exchange) {
  start(std::move(exchange));
}

HttpClient::HttpClient(ClientOptions options) : impl_(std::make_shared<Impl>(options)) {
  auto loop = EventLoop::create();
  if (!loop) {
    impl_->unusable = loop.error();
    return;
  }
  impl_->loop = std::move(*loop);
  impl_->thread = std::thread([events = impl_->loop] { events->run(); });
}

HttpClient::HttpClient(ClientOptions options, std::shared_ptr<EventLoop> loop)
    : impl_(std::make_shared<Impl>(options)) {
  impl_->loop = std::move(loop);
}

HttpClient::~HttpClient() {
  if (!impl_->loop) return;
  impl_->stopping = true;
  if (!impl_->thread.joinable()) {
    impl_->close_all();
    return;
  }
  impl_->loop->post([impl = impl_] { impl->close_all(); });
  impl_->loop->stop();
  impl_->thread.join();
}

ClientCall HttpClient::request(ClientRequest request, ClientCallbacks callbacks) {
  return launch(std::move(request), std::move(callbacks), SIZE_MAX);
}

ClientCall HttpClient::launch(ClientRequest request, ClientCallbacks callbacks,
                              size_t max_body_bytes) {
  auto prepared = impl_->prepare(request);
  if (prepared && impl_->stopping) prepared = fail(Code::kCancelled, "the client was closed");
  if (!prepared) {
    if (callbacks.on_end) callbacks.on_end(std::unexpected(prepared.error()));
    return {};
  }
  const std::shared_ptr<ClientExchange> exchange = *std::move(prepared);
  exchange->callbacks = std::move(callbacks);
  exchange->body_left = max_body_bytes;
  const auto given_or = [](Duration given, Duration otherwise) {
    return given > Duration::zero() ? given : otherwise;
  };
  const ClientOptions& options = impl_->options;
  exchange->connect_timeout = given_or(request.connect_timeout, options.connect_timeout);
  exchange->read_timeout = given_or(request.read_timeout, options.read_timeout);
  exchange->first_byte_timeout = given_or(request.first_byte_timeout, exchange->read_timeout);
  if (request.timeout > Duration::zero()) exchange->deadline = EventLoop::now() + request.timeout;
  if (impl_->loop->on_thread()) {
    impl_->start(exchange);
  } else {
    impl_->loop->post([impl = impl_, exchange] { impl->start(exchange); });
  }
  ClientCall call;
  call.cancel_ = [weak_impl = std::weak_ptr(impl_), weak_exchange = std::weak_ptr(exchange)] {
    const auto impl = weak_impl.lock();
    if (!impl) return;
    impl->loop->post([weak_impl, weak_exchange] {
      const auto owner = weak_impl.lock();
      const auto target = weak_exchange.lock();
      if (owner && target) owner->cancel(target);
    });
  };
  return call;
}

void ClientCall::cancel() {
  if (cancel_) cancel_();
}

Result<HttpResponse> HttpClient::fetch(ClientRequest request) {
  HttpResponse response;
  Outcome outcome;
  std::latch done(1);
  const auto on_head = [&](int status, const Headers& headers) {
    response.status = status;
    response.headers = headers;
  };
  const auto on_data = [&](std::string_view bytes) { response.body += bytes; };
  const auto on_end = [&](Outcome ended) {
    outcome = std::move(ended);
    done.count_down();
  };
  launch(std::move(request), {.on_head = on_head, .on_data = on_data, .on_end = on_end},
         impl_->options.max_body_bytes);
  done.wait();
  if (!outcome) return std::unexpected(outcome.error());
  return response;
}

}  // namespace sluice::net
