#include "process/prober.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <utility>

#include "net/socket.h"
#include "net/tls.h"

namespace sluice::process {
namespace {

constexpr std::array kKinds = {ProbeKind::kStartup, ProbeKind::kReadiness, ProbeKind::kLiveness};

std::string_view name_of(ProbeKind kind) {
  switch (kind) {
    case ProbeKind::kStartup:
      return "start-up probe";
    case ProbeKind::kReadiness:
      return "readiness probe";
    case ProbeKind::kLiveness:
      break;
  }
  return "liveness probe";
}

std::shared_ptr<const net::TlsContext> any_certificate() {
  static const auto context = net::TlsContext::for_client({.verify = false});
  return context ? *context : nullptr;
}

// One connection made and closed again. On its loop's thread.
class TcpAttempt final : net::EventLoop::Watcher {
 public:
  using Done = std::function<void(bool good, const std::string& why)>;

  TcpAttempt(net::EventLoop& loop, Done done)
      : loop_(loop),
        done_(std::move(done)),
        deadline_(loop, [this] { end(false, "no connection in time"); }) {}
  ~TcpAttempt() { close(); }
  TcpAttempt(const TcpAttempt&) = delete;
  TcpAttempt& operator=(const TcpAttempt&) = delete;

  void begin(const std::string& host, uint16_t port, Duration timeout) {
    const auto address = net::numeric_address(host, port);
    socket_ = net::Fd(::socket(address ? address->storage.ss_family : AF_INET,
                               SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    if (!address || !socket_.valid()) return end(false, net::errno_text("socket", errno));
    if (::connect(socket_.get(), address->raw(), address->length) == 0) return end(true, "");
    if (errno != EINPROGRESS) return end(false, net::errno_text("cannot connect", errno));
    if (const auto watched = loop_.watch(socket_.get(), EPOLLOUT, this); !watched) {
      return end(false, watched.error().message());
    }
    watched_ = true;
    deadline_.set(net::EventLoop::now() + timeout);
  }

 private:
  void on_events(uint32_t) override {
    int error = 0;
    socklen_t size = sizeof(error);
    ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &size);
    end(error == 0, error == 0 ? "" : net::errno_text("cannot connect", error));
  }

  void end(bool good, const std::string& why) {
    close();
    // It may destroy this.
    const Done done = std::move(done_);
    done(good, why);
  }

  void close() {
    deadline_.disarm();
    if (std::exchange(watched_, false)) loop_.unwatch(socket_.get());
    socket_.reset();
  }

  net::EventLoop& loop_;
  Done done_;
  net::EventLoop::Timer deadline_;
  net::Fd socket_;
  bool watched_ = false;
};

}  // namespace

struct Prober::Shared : std::enable_shared_from_this<Prober::Shared> {
  Shared(net::EventLoop& event_loop, net::HttpClient& http, std::string to_host, uint16_t to_port,
         ProbeSchedule probes, Listener told)
      : loop(event_loop),
        client(http),
        host(std::move(to_host)),
        port(to_port),
        schedule(std::move(probes)),
        listener(std::move(told)),
        timer(event_loop, [this] { look(); }) {}

  net::EventLoop& loop;
  net::HttpClient& client;
  const std::string host;
  const uint16_t port;
  ProbeSchedule schedule;
  Listener listener;
  net::EventLoop::Timer timer;
  std::array<std::shared_ptr<TcpAttempt>, kProbeKinds> connections;
  std::array<net::ClientCall, kProbeKinds> calls;
  bool stopped = false;

  // Begins what is due, and wakes for what is next.
  void look() {
    const auto self = shared_from_this();
    const TimePoint now = net::EventLoop::now();
    TimePoint next = TimePoint::max();
    for (const ProbeKind kind : kKinds) {
      if (stopped) return;
      if (schedule.due(kind) <= now) begin(kind);
    }
    if (stopped) return;
    for (const ProbeKind kind : kKinds) next = std::min(next, schedule.due(kind));
    timer.clear();
    if (next != TimePoint::max()) timer.set(next);
  }

  void begin(ProbeKind kind) {
    schedule.begin(kind);
    const Probe& probe = schedule.probe(kind);
    const auto done = [weak = weak_from_this(), kind](bool good, const std::string& why) {
      if (const auto self = weak.lock()) self->finish(kind, good, why);
    };
    if (probe.kind == Probe::Kind::kTcp) {
      auto attempt = std::make_shared<TcpAttempt>(loop, done);
      connections[static_cast<size_t>(kind)] = attempt;
      attempt->begin(host, port, probe.timeout);
      return;
    }
    net::ClientRequest request;
    request.url =
        fmt::format("{}://{}:{}{}", probe.https ? "https" : "http", host, port, probe.path);
    request.headers = {{"User-Agent", "sluice-probe"}, {"Connection", "close"}};
    for (const auto& header : probe.headers) {
      if (header.first == "Host" || header.first == "host") {
        request.host = header.second;
      } else {
        request.headers.push_back(header);
      }
    }
    request.timeout = request.connect_timeout = probe.timeout;
    if (probe.https) request.tls = any_certificate();
    const auto status = std::make_shared<int>(0);
    const auto on_head = [status](int code, const net::Headers&) { *status = code; };
    // What came of the body does not matter.
    const auto on_end = [status, done](const Outcome& outcome) {
      const bool good = *status >= 200 && *status < 400;
      done(good, *status != 0 ? fmt::format("HTTP status {}", *status)
                 : outcome    ? std::string("no answer")
                              : outcome.error().message());
    };
    calls[static_cast<size_t>(kind)] =
        client.request(std::move(request), {.on_head = on_head, .on_end = on_end});
  }

  void finish(ProbeKind kind, bool good, const std::string& why) {
    if (stopped) return;
    // The attempt whose callback this is must live until it returns.
    loop.retire(std::move(connections[static_cast<size_t>(kind)]));
    const ProbeVerdict verdict = schedule.finish(kind, good, net::EventLoop::now());
    // Not from here: a probe may end before its begin() has returned.
    timer.set(net::EventLoop::now());
    if (verdict != ProbeVerdict::kNothing) {
      listener(verdict, fmt::format("{} of port {}: {}", name_of(kind), port, why));
    }
  }

  void stop() {
    stopped = true;
    timer.disarm();
    for (auto& each : connections) loop.retire(std::move(each));
    for (auto& each : calls) each.cancel();
  }
};

Prober::Prober(net::EventLoop& loop, net::HttpClient& client, std::string host, uint16_t port,
               ProbeSchedule schedule, Listener listener)
    : shared_(std::make_shared<Shared>(loop, client, std::move(host), port, std::move(schedule),
                                       std::move(listener))) {
  // In the loop's next round: the listener is not to be called from here.
  shared_->timer.set(net::EventLoop::now());
}

Prober::~Prober() { shared_->stop(); }

}  // namespace sluice::process
