#include "net/client.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <optional>
#include <thread>
#include <utility>

#include "net/event_loop.h"
#include "net/response_parser.h"
#include "net/sse.h"
#include "net/test_support.h"
#include "net/url.h"

namespace sluice::net {
namespace {

using testing::RawClient;
using testing::Signal;
using testing::TestServer;

// Answers one connection with fixed bytes, then closes it: an upstream that misbehaves.
class FixedServer {
 public:
  explicit FixedServer(std::string answer, bool keep_open = false)
      : listener_(*listen_on("127.0.0.1", 0)), port_(local_port(listener_.get())) {
    const int flags = ::fcntl(listener_.get(), F_GETFL);
    ::fcntl(listener_.get(), F_SETFL, flags & ~O_NONBLOCK);
    thread_ = std::thread([this, answer = std::move(answer), keep_open] {
      Fd fd(::accept(listener_.get(), nullptr, nullptr));
      std::string got;
      std::array<char, 4096> space;
      while (got.find("\r\n\r\n") == std::string::npos) {
        const ssize_t count = ::recv(fd.get(), space.data(), space.size(), 0);
        if (count <= 0) return;
        got.append(space.data(), static_cast<size_t>(count));
      }
      ::send(fd.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
      while (keep_open && ::recv(fd.get(), space.data(), space.size(), 0) > 0) {
      }
      left_.set();
    });
  }
  ~FixedServer() { thread_.join(); }

  bool client_leaves() { return left_.wait(); }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/"; }

 private:
  Fd listener_;
  uint16_t port_;
  Signal left_;
  std::thread thread_;
};

std::string url_of(const TestServer& server, std::string_view path) {
  return "http://127.0.0.1:" + std::to_string(server.server->port()) + std::string(path);
}

// Status and body of `answer` as a client reads it, or the error's code.
std::string fetched(std::string answer, std::string method = "GET") {
  const FixedServer server(std::move(answer));
  HttpClient client;
  const auto got = client.fetch({.method = std::move(method), .url = server.url()});
  if (!got) return std::string(code_name(got.error().code()));
  return std::to_string(got->status) + " " + got->body;
}

TEST(HttpClient, FetchesAndKeepsTheConnection) {
  TestServer server;
  HttpClient client;
  for (int i = 0; i < 5; ++i) {
    const auto answer =
        client.fetch({.method = "POST", .url = url_of(server, "/echo"), .body = "hello"});
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, "hello");
    EXPECT_EQ(find_header(answer->headers, "Content-Type"), "text/plain");
  }
  EXPECT_EQ(server.server->stats().connections_accepted, 1u);
}

// Servers need not say that they close because they were asked to.
TEST(HttpClient, KeepsNoConnectionThatItAskedToClose) {
  FixedServer server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", true);
  HttpClient client;
  const auto answer = client.fetch({.url = server.url(), .headers = {{"connection", "Close"}}});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->body, "ok");
  EXPECT_TRUE(server.client_leaves());
}

TEST(HttpClient, HeadAndLargeBodies) {
  TestServer server;
  HttpClient client;
  const auto head = client.fetch({.method = "HEAD", .url = url_of(server, "/a")});
  ASSERT_TRUE(head);
  EXPECT_EQ(head->body, "");
  const std::string large(3u << 20, 'z');
  const auto echo = client.fetch({.method = "POST", .url = url_of(server, "/echo"), .body = large});
  ASSERT_TRUE(echo);
  EXPECT_EQ(echo->body, large);
}

TEST(HttpClient, PassesAStreamOnAsItComes) {
  TestServer server;
  HttpClient client;
  Signal first;
  Signal ended;
  SseParser parser;
  std::vector<SseEvent> events;
  client.request({.method = "POST", .url = url_of(server, "/hold"), .body = "{}"},
                 {.on_head = [](int status, const Headers&) { EXPECT_EQ(status, 200); },
                  .on_data =
                      [&](std::string_view bytes) {
                        EXPECT_TRUE(parser.feed(bytes, events));
                        first.set();
                      },
                  .on_end =
                      [&](Outcome outcome) {
                        EXPECT_TRUE(outcome);
                        ended.set();
                      }});
  auto arrived = server.handler->take();
  arrived.responder->start(200, {{"Content-Type", "text/event-stream"}});
  arrived.responder->write(sse_event("one"));
  ASSERT_TRUE(first.wait());  // before the stream has ended
  arrived.responder->write(sse_event("two"));
  arrived.responder->finish();
  ASSERT_TRUE(ended.wait());
  ASSERT_EQ(events.size(), 2u);
  EXPECT_EQ(events[1].data, "two");
}

TEST(HttpClient, CancelReachesTheServer) {
  TestServer server;
  HttpClient client;
  Signal ended;
  Outcome outcome;
  ClientCall call = client.request({.url = url_of(server, "/hold")}, {.on_end = [&](Outcome o) {
                                     outcome = o;
                                     ended.set();
                                   }});
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  call.cancel();
  ASSERT_TRUE(ended.wait());
  EXPECT_TRUE(gone.wait());
  ASSERT_FALSE(outcome);
  EXPECT_EQ(outcome.error().code(), Code::kCancelled);
  call.cancel();
}

TEST(HttpClient, ManyRequestsAtOnce) {
  ServerOptions options;
  options.io_threads = 2;
  TestServer server(std::move(options));
  HttpClient client;
  constexpr int kRequests = 400;
  Signal ended;
  std::atomic<int> good{0};
  for (int i = 0; i < kRequests; ++i) {
    auto body = std::make_shared<std::string>();
    client.request({.method = "POST", .url = url_of(server, "/echo"), .body = std::to_string(i)},
                   {.on_data = [body](std::string_view bytes) { *body += bytes; },
                    .on_end =
                        [body, i, &good, &ended](Outcome outcome) {
                          if (outcome && *body == std::to_string(i)) ++good;
                          ended.set();
                        }});
  }
  EXPECT_TRUE(ended.wait(kRequests));
  EXPECT_EQ(good, kRequests);
}

TEST(HttpClient, EndsEveryRequestWhenItIsDestroyed) {
  TestServer server;
  Signal ended;
  testing::Arrived held;
  {
    HttpClient client;
    for (int i = 0; i < 3; ++i) {
      client.request({.url = url_of(server, "/hold")}, {.on_end = [&](Outcome outcome) {
                       EXPECT_FALSE(outcome);
                       ended.set();
                     }});
    }
    held = server.handler->take();
  }
  EXPECT_EQ(ended.count(), 3);
}

TEST(HttpClient, SaysWhatIsWrongWithARequest) {
  HttpClient client;
  const auto code = [&](ClientRequest request) {
    const auto answer = client.fetch(std::move(request));
    return answer ? Code::kInternal : answer.error().code();
  };
  EXPECT_EQ(code({.url = "localhost:80"}), Code::kInvalidArgument);
  EXPECT_EQ(code({.url = "ftp://localhost/"}), Code::kInvalidArgument);
  EXPECT_EQ(code({.method = "A B", .url = "http://localhost/"}), Code::kInvalidArgument);
  EXPECT_EQ(code({.url = "http://localhost/", .headers = {{"A", "b\r\nC: d"}}}),
            Code::kInvalidArgument);
  EXPECT_EQ(code({.url = "http://name.invalid/"}), Code::kUnavailable);
  const uint16_t free_port = TestServer().server->port();
  EXPECT_EQ(code({.url = "http://127.0.0.1:" + std::to_string(free_port)}), Code::kUnavailable);
}

TEST(HttpClient, WaitsOnlySoLong) {
  TestServer server;
  ClientOptions options;
  options.read_timeout = std::chrono::milliseconds(30);
  HttpClient client(options);
  const auto answer = client.fetch({.url = url_of(server, "/hold")});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kDeadlineExceeded);
  HttpClient patient;
  const auto late =
      patient.fetch({.url = url_of(server, "/hold"), .timeout = std::chrono::milliseconds(30)});
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(late.error().reason(), kOutOfTime);
  EXPECT_EQ(answer.error().reason(), "") << "silence is another thing";
}

TEST(HttpClient, AnIdleConnectionGivesWayAndABusyOneDoesNot) {
  TestServer server;
  TestServer other;
  ClientOptions options;
  options.max_connections = 1;
  HttpClient client(options);
  EXPECT_TRUE(client.fetch({.url = url_of(server, "/a")}));
  EXPECT_TRUE(client.fetch({.url = url_of(other, "/a")}));
  client.request({.url = url_of(other, "/hold")}, {});
  auto held = other.handler->take();
  const auto refused = client.fetch({.url = url_of(server, "/a")});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), Code::kResourceExhausted);
  EXPECT_EQ(refused.error().reason(), kNotSent) << "the server is not to blame";
}

TEST(HttpClient, WantOfDescriptorsIsNotTheServersFault) {
  TestServer server;
  HttpClient client;
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &before), 0);
  const Fd next(::dup(0));
  const rlimit none{.rlim_cur = static_cast<rlim_t>(next.get()), .rlim_max = before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &none), 0);
  const auto refused = client.fetch({.url = url_of(server, "/a")});
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &before), 0);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().reason(), kNotSent) << refused.error().message();
  EXPECT_TRUE(client.fetch({.url = url_of(server, "/a")}));
}

TEST(HttpClient, TakesAnAnswerThatEndsWithTheConnection) {
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\n\r\nuntil close"), "200 until close");
  EXPECT_EQ(fetched("HTTP/1.0 200\r\nX: y\r\n\r\nold"), "200 old");
  EXPECT_EQ(fetched("HTTP/1.1 204 No Content\r\n\r\n"), "204 ");
  EXPECT_EQ(fetched("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            "200 ok");
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "HEAD"), "200 ");
  EXPECT_EQ(fetched("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500"), "200 ok");
  EXPECT_EQ(fetched("HTTP/1.1 999 Odd\r\nContent-Length: 0\r\n\r\n"), "999 ");
}

TEST(HttpClient, BrokenAnswersAreErrors) {
  std::string flood;
  for (int i = 0; i < 100; ++i) flood += "HTTP/1.1 103 Early Hints\r\n\r\n";
  const std::string ok = "HTTP/1.1 200 OK\r\n";
  for (const std::string& answer :
       {std::string(), std::string("HTT"), std::string("<html></html>\r\n\r\n"),
        std::string("HTTP/2 200\r\n\r\n"), ok + "Content-Length: 9\r\n\r\nshort",
        ok + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab", ok + "Content-Length: -1\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\n\r\n5\r\nhel", ok + "Transfer-Encoding: gzip\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
        ok + "Transfer-Encoding: chunked\r\n\r\nzz\r\n", ok + "Bad Name: x\r\n\r\n",
        ok + "X: " + std::string(100'000, 'x') + "\r\n\r\n", flood,
        std::string("HTTP/1.1 101 Switching Protocols\r\n\r\n")}) {
    EXPECT_EQ(fetched(answer), "unavailable") << answer.substr(0, 80);
  }
}

TEST(HttpClient, FetchTakesOnlySoMuch) {
  const FixedServer server("HTTP/1.1 200 OK\r\n\r\n" + std::string(1000, 'x'), true);
  ClientOptions options;
  options.max_body_bytes = 999;
  HttpClient client(options);
  const auto answer = client.fetch({.url = server.url()});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), Code::kTooLarge);
}

TEST(Url, TakesPlainOnesApart) {
  const auto url = parse_url("HTTP://Host:8080/a?b=c");
  ASSERT_TRUE(url);
  EXPECT_EQ(url->scheme, "http");
  EXPECT_EQ(url->host, "Host");
  EXPECT_EQ(url->port, 8080);
  EXPECT_EQ(url->authority, "Host:8080");
  EXPECT_EQ(url->target, "/a?b=c");
  EXPECT_EQ(parse_url("https://[::1]")->host, "::1");
  EXPECT_EQ(parse_url("https://[::1]:9")->port, 9);
  EXPECT_EQ(parse_url("https://h")->port, 443);
  EXPECT_EQ(parse_url("http://h?x")->target, "/?x");
}

// Item 54.
TEST(Url, RefusesTricks) {
  for (const std::string_view bad :
       {"", "h", "ftp://h/", "http://", "http:///x", "http://u@h/", "http://u:p@h/",
        "http://h\\@e/", "http://h/a b", "http://h/\r\nX", "http://h/#f", "http://h:0/",
        "http://h:99999/", "http://h:/", "http://h\t/", "http://[::1/", "javascript:alert(1)",
        "//h/"}) {
    EXPECT_FALSE(parse_url(bad)) << bad;
  }
}

// Passes every request on to another server, by a client on the loop that the request came in on.
class Passing : public HttpHandler {
 public:
  Passing(std::shared_ptr<EventLoop> loop, std::string to)
      : client_(std::in_place, ClientOptions{}, std::move(loop)), to_(std::move(to)) {}

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    on_loop = EventLoop::current() != nullptr;
    ClientRequest onward{.method = request.method, .url = to_ + request.target};
    onward.host = "elsewhere.example";
    onward.body = std::move(request.body);
    auto call = client_->request(
        std::move(onward),
        {.on_head = [responder](int status, const Headers&) { responder->start(status, {}); },
         .on_data = [responder](std::string_view bytes) { responder->write(bytes); },
         .on_end =
             [this, responder](Outcome outcome) {
               if (outcome) return responder->finish();
               reason = outcome.error().reason();
               ended.set();
             }});
    responder->on_close([call]() mutable { call.cancel(); });
  }
  void end() { client_.reset(); }

  std::atomic<bool> on_loop = false;
  std::string reason;
  Signal ended;

 private:
  std::optional<HttpClient> client_;
  std::string to_;
};

struct PassingServer {
  explicit PassingServer(std::string to) {
    auto loop = *EventLoop::create();
    handler = std::make_shared<Passing>(loop, std::move(to));
    ServerOptions options;
    options.loops = {loop};
    server = *HttpServer::start(std::move(options), handler);
  }
  ~PassingServer() {
    server.reset();
    handler->end();
  }
  std::string url(std::string_view path) const {
    return "http://127.0.0.1:" + std::to_string(server->port()) + std::string(path);
  }

  std::shared_ptr<Passing> handler;
  std::unique_ptr<HttpServer> server;
};

TEST(ClientOnSharedLoop, PassesAnswersOn) {
  TestServer upstream;
  PassingServer between(url_of(upstream, ""));
  HttpClient client;
  for (int i = 0; i < 3; ++i) {
    const auto got = client.fetch({.method = "POST", .url = between.url("/echo"), .body = "hello"});
    ASSERT_TRUE(got) << got.error().message();
    EXPECT_EQ(got->body, "hello");
  }
  EXPECT_TRUE(between.handler->on_loop);
  EXPECT_EQ(upstream.server->stats().connections_accepted, 1u);
}

TEST(ClientOnSharedLoop, HostFieldMayDifferFromTheAddress) {
  TestServer upstream;
  PassingServer between(url_of(upstream, ""));
  HttpClient client;
  const auto call = client.request({.url = between.url("/hold")}, {});
  auto arrived = upstream.handler->take();
  EXPECT_EQ(arrived.request.header("host"), "elsewhere.example");
  arrived.responder->send({});
}

TEST(ClientOnSharedLoop, ClientThatLeavesCancelsUpstream) {
  TestServer upstream;
  PassingServer between(url_of(upstream, ""));
  Signal gone;
  {
    RawClient client(between.server->port());
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n");
    auto arrived = upstream.handler->take();
    arrived.responder->on_close([&gone] { gone.set(); });
    client.reset();
    EXPECT_TRUE(gone.wait());
  }
  EXPECT_TRUE(between.handler->ended.wait());
}

TEST(ClientOnSharedLoop, RefusedConnectionIsToldApart) {
  uint16_t nobody = 0;
  {
    const Fd closed = *listen_on("127.0.0.1", 0);
    nobody = local_port(closed.get());
  }
  PassingServer between("http://127.0.0.1:" + std::to_string(nobody));
  HttpClient client;
  EXPECT_EQ(client.fetch({.url = between.url("/")})->status, 500);
  EXPECT_TRUE(between.handler->ended.wait());
  EXPECT_EQ(between.handler->reason, kNotConnected);
}

TEST(Client, FirstByteHasItsOwnDeadline) {
  TestServer upstream;
  HttpClient client;
  const auto got = client.fetch(
      {.url = url_of(upstream, "/hold"), .first_byte_timeout = std::chrono::milliseconds(30)});
  ASSERT_FALSE(got);
  EXPECT_EQ(got.error().code(), Code::kDeadlineExceeded);
  EXPECT_EQ(got.error().reason(), "");
}

}  // namespace
}  // namespace sluice::net
