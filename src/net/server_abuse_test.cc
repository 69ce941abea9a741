// What a hostile or broken client sends over a real socket: the server answers with the right
// status, closes where it must, and goes on serving. Numbers are the items of the abuse list.

#include <gtest/gtest.h>

#include <thread>

#include "net/forwarded.h"
#include "net/server.h"
#include "net/test_support.h"

namespace sluice::net {
namespace {

using std::chrono::milliseconds;
using testing::RawClient;
using testing::Signal;
using testing::status_of;
using testing::TestServer;

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

class ServerAbuse : public ::testing::Test {
 protected:
  ~ServerAbuse() override {
    // Whatever was sent before, the next client is served and nothing is left behind.
    EXPECT_EQ(status_of(server_.talk("GET /a HTTP/1.0\r\n\r\n")), 200);
    EXPECT_TRUE(server_.server->drain(testing::kPatience));
    EXPECT_EQ(server_.server->stats().requests_in_flight, 0u);
  }

  // Status of the one answer to `bytes`, behind which the server has closed.
  int refused(std::string_view bytes) {
    const std::string answer = server_.talk(bytes);
    EXPECT_NE(answer.find("\r\nConnection: close\r\n"), std::string::npos) << answer;
    EXPECT_NE(answer.find("{\"error\":{\"message\":\""), std::string::npos) << answer;
    return status_of(answer);
  }

  static ServerOptions options() {
    ServerOptions options;
    options.limits.body_bytes = 100'000;
    return options;
  }

  TestServer server_{options()};
};

TEST_F(ServerAbuse, FramingFaultsAreAnsweredAndClose) {
  const std::string head = "POST /echo HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(refused(head + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
            400);
  EXPECT_EQ(refused(head + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde"), 400);
  EXPECT_EQ(refused(head + "Content-Length: +5\r\n\r\nabcde"), 400);
  EXPECT_EQ(refused(head + "Transfer-Encoding: xchunked\r\n\r\n"), 400);
  EXPECT_EQ(refused(head + "Transfer-Encoding: gzip\r\n\r\n"), 501);
  EXPECT_EQ(refused(head + "Transfer-Encoding: chunked\r\n\r\n-1\r\n"), 400);
  EXPECT_EQ(refused(head + "Transfer-Encoding: chunked\r\n\r\n3\r\nabcXX"), 400);
  EXPECT_EQ(refused(head + "Bad : x\r\n\r\n"), 400);
  EXPECT_EQ(refused(head + "A: b\r\n c\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\n\r\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/1.1\nHost: x\n\n"), 400);
  EXPECT_EQ(refused("GET / HTTP/9.9\r\n\r\n"), 505);
  EXPECT_EQ(refused("GET /%2e%2e/x HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
  EXPECT_EQ(refused(head + "Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nabc"), 415);
  EXPECT_EQ(refused(head + "Expect: magic\r\nContent-Length: 3\r\n\r\n"), 417);
  EXPECT_EQ(refused("\x16\x03\x01\x02\x01\x01\xfc\x03\x03 not plain text\r\n"), 400);
}

TEST_F(ServerAbuse, OversizesAreAnsweredEvenWhileTheClientStillSends) {
  EXPECT_EQ(refused("GET /" + std::string(64u << 10, 'a') + " HTTP/1.1\r\nHost: x\r\n\r\n"), 414);
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: x\r\nA: " + std::string(1u << 20, 'b') + "\r\n\r\n"),
            431);
  std::string many;
  for (int i = 0; i < 10'000; ++i) many += "A: b\r\n";
  EXPECT_EQ(refused("GET / HTTP/1.1\r\nHost: x\r\n" + many + "\r\n"), 431);
  EXPECT_EQ(refused("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3000000\r\n\r\n" +
                    std::string(3'000'000, 'x')),
            413);
  std::string chunks = "POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 3000; ++i) chunks += "3e8\r\n" + std::string(1000, 'x') + "\r\n";
  EXPECT_EQ(refused(chunks), 413);
}

TEST_F(ServerAbuse, ContinueIsAskedForOnlyWhenTheBodyWillBeTaken) {
  RawClient client = server_.connect();
  client.send(
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(client.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  client.send("hello");
  EXPECT_TRUE(client.read_answer().ends_with("hello"));
  EXPECT_EQ(refused("POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                    "Content-Length: 100001\r\n\r\n"),
            413);
}

TEST_F(ServerAbuse, AHandlersRefusalComesBeforeTheBody) {
  server_.handler->on_head = [](const HttpRequest& head) -> std::optional<HttpResponse> {
    EXPECT_NE(head.peer, "");
    if (!head.header("authorization").empty()) return std::nullopt;
    return HttpResponse{.status = 401, .body = "key?"};
  };
  const std::string answer = server_.talk(
      "POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n");
  EXPECT_EQ(status_of(answer), 401);
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  RawClient client = server_.connect();  // without a body the connection may stay
  client.send(kGet);
  EXPECT_EQ(status_of(client.read_answer()), 401);
  client.send("GET /a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n\r\n");
  EXPECT_EQ(status_of(client.read_answer()), 200);
  server_.handler->on_head = nullptr;
}

TEST_F(ServerAbuse, TenThousandPipelinedRequests) {
  RawClient client = server_.connect();
  std::string all;
  for (int i = 0; i < 10'000; ++i) all += kGet;
  std::thread sender([&] { client.send(all); });
  RawClient beside = server_.connect();
  beside.send(kGet);
  EXPECT_EQ(status_of(beside.read_answer()), 200);
  int answers = 0;
  while (answers < 10'000 && status_of(client.read_answer()) == 200) ++answers;
  sender.join();
  EXPECT_EQ(answers, 10'000);
}

TEST_F(ServerAbuse, GarbageBehindAValidRequest) {
  const std::string answers = server_.talk(std::string(kGet) + "\x01\x02garbage\r\n\r\n");
  EXPECT_EQ(status_of(answers), 200);
  EXPECT_NE(answers.find("HTTP/1.1 400 Bad Request"), std::string::npos);
}

TEST_F(ServerAbuse, GetWithABodyAndUpgradesAreOrdinaryRequests) {
  RawClient client = server_.connect();
  client.send("GET /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_TRUE(client.read_answer().ends_with("abc"));
  client.send(
      "GET /a HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"
      "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n\r\n");
  EXPECT_EQ(status_of(client.read_answer()), 200);
  EXPECT_EQ(refused("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), 505);
}

// Item 20.
TEST_F(ServerAbuse, ForwardedHeadersDoNotChangeThePeer) {
  RawClient client = server_.connect();
  client.send(
      "GET /hold HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 10.9.9.9\r\nForwarded: for=10.9.9.9\r\n"
      "X-Real-IP: 10.9.9.9\r\n\r\n");
  auto arrived = server_.handler->take();
  EXPECT_TRUE(arrived.request.peer.starts_with("127.0.0.1:")) << arrived.request.peer;
  arrived.responder->send({.status = 200, .body = "ok"});
  EXPECT_EQ(status_of(client.read_answer()), 200);
  EXPECT_EQ(refused("PROXY TCP4 10.9.9.9 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
}

TEST_F(ServerAbuse, ForwardedHeadersOfATrustedProxyNameThePeer) {
  ServerOptions options;
  options.trusted_proxies =
      std::make_shared<const TrustedProxies>(std::vector{*parse_ip_network("127.0.0.0/8")});
  TestServer server(std::move(options));
  RawClient client = server.connect();
  client.send("GET /hold HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: 6.6.6.6, 10.9.9.9\r\n\r\n");
  auto arrived = server.handler->take();
  EXPECT_EQ(arrived.request.peer, "10.9.9.9");
  arrived.responder->send({.status = 200, .body = "ok"});
  EXPECT_EQ(status_of(client.read_answer()), 200);
}

TEST_F(ServerAbuse, MethodsOfRandomBytesMakeNoNewCounters) {
  for (int i = 0; i < 200; ++i) {
    const std::string method = "M" + std::to_string(i * 7919);
    EXPECT_EQ(refused(method + " / HTTP/1.1\r\nHost: x\r\n\r\n"), 501);
  }
  const auto rejected = server_.server->stats().rejected;
  ASSERT_EQ(rejected.size(), 1u);
  EXPECT_EQ(rejected[0], (std::pair<std::string, uint64_t>("method", 200)));
}

TEST_F(ServerAbuse, ErrorsSpeakThePathsDialect) {
  ServerOptions options;
  options.error_body = [](int status, std::string_view, std::string_view path) {
    return HttpResponse{.status = status, .body = "dialect of " + std::string(path)};
  };
  const TestServer server(std::move(options));
  EXPECT_TRUE(server.talk("POST /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n")
                  .ends_with("dialect of /v2/x"));
  EXPECT_TRUE(server.talk("nonsense\r\n").ends_with("dialect of "));
  const std::string head =
      server.talk("HEAD /v2/x HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999\r\n\r\n");
  EXPECT_TRUE(head.ends_with("\r\n\r\n"));
}

// Item 17. Each test shrinks the one wait it is about.
ServerOptions with_timeout(Duration ServerLimits::* limit, milliseconds value) {
  ServerOptions options;
  options.limits.*limit = value;
  return options;
}

TEST(ServerTimeouts, SilentConnectionIsClosed) {
  const TestServer server(with_timeout(&ServerLimits::header_timeout, milliseconds(40)));
  EXPECT_TRUE(server.connect().at_end());
  EXPECT_EQ(server.rejected("idle_timeout"), 1u);
}

TEST(ServerTimeouts, IdleConnectionIsClosed) {
  const TestServer server(with_timeout(&ServerLimits::idle_timeout, milliseconds(40)));
  RawClient client = server.connect();
  client.send(kGet);
  EXPECT_EQ(status_of(client.read_answer()), 200);
  EXPECT_TRUE(client.at_end());
}

TEST(ServerTimeouts, SlowHeaderIsRefused) {
  const TestServer server(with_timeout(&ServerLimits::header_timeout, milliseconds(300)));
  const std::string answer = server.talk("GET /a HTTP/1.1\r\nHost:");
  EXPECT_EQ(status_of(answer), 408);
  EXPECT_EQ(server.rejected("header_timeout"), 1u);
}

TEST(ServerTimeouts, DrippedHeaderIsRefusedThoughBytesKeepComing) {
  const TestServer server(with_timeout(&ServerLimits::header_timeout, milliseconds(40)));
  RawClient client = server.connect();
  const auto refusals = [&] {
    return server.rejected("header_timeout") + server.rejected("header_too_large") +
           server.rejected("idle_timeout");
  };
  client.send("GET /a HTTP/1.1\r\nHost: x\r\n");
  while (client.send("A") && refusals() == 0) {
  }
  EXPECT_EQ(refusals(), 1u);
}

TEST(ServerTimeouts, SlowBodyIsRefused) {
  const TestServer server(with_timeout(&ServerLimits::body_timeout, milliseconds(40)));
  const std::string answer =
      server.talk("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(status_of(answer), 408);
  EXPECT_EQ(server.rejected("body_timeout"), 1u);
}

TEST(ServerTimeouts, AnAnswerThatTakesLongIsNoTimeout) {
  TestServer server(with_timeout(&ServerLimits::idle_timeout, milliseconds(40)));
  RawClient client = server.connect();
  client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
  auto arrived = server.handler->take();
  for (int i = 0; i < 2; ++i) {  // each as long as the timeout
    RawClient idle = server.connect();
    idle.send(kGet);
    idle.read_answer();
    EXPECT_TRUE(idle.at_end());
  }
  arrived.responder->send({.status = 200, .body = "late"});
  EXPECT_TRUE(client.read_answer().ends_with("late"));
}

TEST(ServerTimeouts, AClientThatGoesOnBehindOurErrorIsClosedAfterAll) {
  const TestServer server(with_timeout(&ServerLimits::linger_timeout, milliseconds(20)));
  RawClient client = server.connect();
  client.send("nonsense\r\n");
  EXPECT_EQ(status_of(client.read_to_end()), 400);
  while (client.send("more and more")) {
  }
  EXPECT_EQ(server.server->stats().connections_open, 0u);
}

TEST(ServerLimits, ConnectionsBeyondTheLimitAreTold) {
  ServerOptions options;
  options.limits.connections = 4;
  const TestServer server(std::move(options));
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<testing::Arrived> held;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.server->port()));
    clients.back()->send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n");
    held.push_back(server.handler->take());
  }
  RawClient one_more = server.connect();
  one_more.send(kGet);
  EXPECT_EQ(status_of(one_more.read_to_end()), 503);
  EXPECT_EQ(server.rejected("too_many_connections"), 1u);
  held[0].responder->send({.status = 200, .body = "still served"});
  EXPECT_EQ(status_of(clients[0]->read_answer()), 200);
}

TEST(ServerLimits, TheLongestIdleConnectionGivesWay) {
  ServerOptions options;
  options.limits.connections = 4;
  const TestServer server(std::move(options));
  std::vector<std::unique_ptr<RawClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.server->port()));
    clients.back()->send(kGet);
    ASSERT_EQ(status_of(clients.back()->read_answer()), 200);
  }
  clients[0]->send(kGet);
  ASSERT_EQ(status_of(clients[0]->read_answer()), 200);
  RawClient one_more = server.connect();
  one_more.send(kGet);
  EXPECT_EQ(status_of(one_more.read_answer()), 200);
  EXPECT_TRUE(clients[1]->at_end());
  clients[0]->send(kGet);
  EXPECT_EQ(status_of(clients[0]->read_answer()), 200);
}

TEST(ServerLimits, BodiesOfAllConnectionsTogether) {
  ServerOptions options;
  options.limits.buffered_body_bytes = 100'000;
  const TestServer server(std::move(options));
  RawClient first = server.connect();
  first.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 90001\r\n\r\n" +
             std::string(90'000, 'x'));
  RawClient second = server.connect();
  while (server.server->stats().bytes_received < 90'000) {
  }
  second.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 20000\r\n\r\n" +
              std::string(20'000, 'x'));
  EXPECT_EQ(status_of(second.read_to_end()), 503);
  first.send("x");
  EXPECT_EQ(status_of(first.read_answer()), 200);
}

}  // namespace
}  // namespace sluice::net
