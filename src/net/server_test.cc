#include "net/server.h"

#include <gtest/gtest.h>

#include <thread>

#include "net/test_support.h"

namespace sluice::net {
namespace {

using testing::RawClient;
using testing::Signal;
using testing::status_of;
using testing::TestServer;

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
constexpr std::string_view kHold = "GET /hold HTTP/1.1\r\nHost: x\r\n\r\n";

std::string post(std::string_view path, std::string_view body) {
  return "POST " + std::string(path) +
         " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
         std::string(body);
}

TEST(HttpServer, AnswersAndKeepsTheConnection) {
  TestServer server;
  RawClient client = server.connect();
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(client.send(post("/echo", "hello")));
    const std::string answer = client.read_answer();
    EXPECT_EQ(status_of(answer), 200);
    EXPECT_TRUE(answer.ends_with("\r\n\r\nhello"));
    EXPECT_NE(answer.find("Date: "), std::string::npos);
    EXPECT_EQ(answer.find("Connection: close"), std::string::npos);
  }
  EXPECT_EQ(server.server->stats().connections_accepted, 1u);
  EXPECT_EQ(server.server->stats().requests_started, 3u);
}

TEST(HttpServer, HonoursConnectionClose) {
  TestServer server;
  const std::string answer = server.talk("GET /a HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n\r\n");
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
}

TEST(HttpServer, Http10ClosesUnlessAskedToKeep) {
  TestServer server;
  EXPECT_NE(server.talk("GET /a HTTP/1.0\r\n\r\n").find("Connection: close"), std::string::npos);
  RawClient client = server.connect();
  client.send("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  EXPECT_NE(client.read_answer().find("Connection: keep-alive"), std::string::npos);
  client.send("GET /a HTTP/1.0\r\n\r\n");
  EXPECT_EQ(status_of(client.read_to_end()), 200);
}

TEST(HttpServer, HeadHasLengthButNoBody) {
  TestServer server;
  RawClient client = server.connect();
  client.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n");
  const std::string answer = client.read_until("\r\n\r\n");
  EXPECT_NE(answer.find("Content-Length: 2"), std::string::npos);
  client.send(kGet);  // the next bytes are the next answer's
  EXPECT_TRUE(client.read_answer().starts_with("HTTP/1.1 200 OK\r\n"));
}

TEST(HttpServer, AnswersPipelinedRequestsInOrder) {
  TestServer server;
  RawClient client = server.connect();
  std::string all;
  for (int i = 0; i < 100; ++i) all += post("/echo", std::to_string(i));
  std::thread sender([&] { client.send(all); });
  for (int i = 0; i < 100; ++i) {
    EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\n" + std::to_string(i)));
  }
  sender.join();
}

TEST(HttpServer, AnswersPipelinedRequestsOfAHalfClosedClient) {
  TestServer server;
  RawClient client = server.connect();
  std::string all;
  for (int i = 0; i < 40; ++i) all += kGet;
  client.send(all);
  client.half_close();
  const std::string answers = client.read_to_end();
  size_t count = 0;
  for (size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, 40u);
}

TEST(HttpServer, StreamsChunksFromAnotherThread) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  auto arrived = server.handler->take();
  std::thread writer([&] {
    arrived.responder->start(200, {{"Content-Type", "text/event-stream"}});
    EXPECT_TRUE(arrived.responder->write("data: a\n\n"));
    EXPECT_TRUE(arrived.responder->write(""));
    EXPECT_TRUE(arrived.responder->write("data: b\n\n"));
    arrived.responder->finish();
    EXPECT_FALSE(arrived.responder->write("late"));
  });
  const std::string head = client.read_until("\r\n\r\n");
  EXPECT_NE(head.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "9\r\ndata: a\n\n\r\n9\r\ndata: b\n\n\r\n0\r\n\r\n");
  writer.join();
  EXPECT_FALSE(arrived.responder->closed());
  client.send(kGet);
  EXPECT_EQ(status_of(client.read_answer()), 200);
}

TEST(HttpServer, StreamsToHttp10UntilClose) {
  TestServer server;
  RawClient client = server.connect();
  client.send("GET /hold HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  auto arrived = server.handler->take();
  arrived.responder->start(200, {});
  arrived.responder->write("one ");
  arrived.responder->write("two");
  arrived.responder->finish();
  const std::string answer = client.read_to_end();
  EXPECT_EQ(answer.find("chunked"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\none two"));
}

TEST(HttpServer, DroppedResponderAnswers500) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  server.handler->take();
  const std::string answer = client.read_answer();
  EXPECT_EQ(status_of(answer), 500);
  EXPECT_NE(answer.find("\"error\""), std::string::npos);
}

TEST(HttpServer, DroppedStreamIsCutAndNotEnded) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  {
    auto arrived = server.handler->take();
    arrived.responder->start(200, {});
    arrived.responder->write("half");
  }
  EXPECT_EQ(client.read_to_end().find("0\r\n\r\n"), std::string::npos);
  EXPECT_EQ(server.rejected("abandoned_stream"), 1u);
}

TEST(HttpServer, ReplacesControlCharactersInHeaderValues) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  server.handler->take().responder->send(
      {.status = 200,
       .headers = {{"X-Model", "a\r\nSet-Cookie: b"}, {"bad name", "c"}, {"Content-Length", "999"}},
       .body = "ok"});
  const std::string answer = client.read_answer();
  EXPECT_NE(answer.find("X-Model: a  Set-Cookie: b\r\n"), std::string::npos);
  EXPECT_EQ(answer.find("bad name"), std::string::npos);
  EXPECT_EQ(answer.find("999"), std::string::npos);
}

// §6.4 item 18: the client leaves in each phase.
TEST(HttpServer, TellsWhenTheClientLeavesWhileNothingIsWritten) {
  TestServer server;
  for (const bool by_reset : {false, true}) {
    RawClient client = server.connect();
    client.send(kHold);
    auto arrived = server.handler->take();
    Signal gone;
    arrived.responder->on_close([&] { gone.set(); });
    EXPECT_FALSE(arrived.responder->closed());
    by_reset ? client.reset() : client.close();
    EXPECT_TRUE(gone.wait());
    EXPECT_TRUE(arrived.responder->closed());
    arrived.responder->start(200, {});
    EXPECT_FALSE(arrived.responder->write("x"));
    Signal at_once;
    arrived.responder->on_close([&] { at_once.set(); });
    EXPECT_EQ(at_once.count(), 1);
    EXPECT_EQ(gone.count(), 1);
  }
}

TEST(HttpServer, TellsWhenTheClientLeavesInMidStream) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  arrived.responder->start(200, {});
  arrived.responder->write("first");
  client.read_until("first\r\n");
  client.reset();
  EXPECT_TRUE(gone.wait());
}

TEST(HttpServer, TellsWhenAPipeliningClientLeavesBehindAFullBuffer) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  std::string flood;
  while (flood.size() < 128u << 10) flood += kGet;
  client.send(flood);
  client.close();
  EXPECT_TRUE(gone.wait());
}

TEST(HttpServer, SurvivesAClientThatLeavesWhileSending) {
  TestServer server;
  for (const std::string_view part :
       {std::string_view("GE"), std::string_view("GET /a HTTP/1.1\r\nHost"),
        std::string_view("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")}) {
    RawClient client = server.connect();
    client.send(part);
    client.reset();
  }
  EXPECT_EQ(status_of(server.talk("GET /a HTTP/1.0\r\n\r\n")), 200);
}

TEST(HttpServer, NoCloseCallbackAfterTheAnswer) {
  TestServer server;
  Signal gone;
  RawClient client = server.connect();
  client.send(kHold);
  auto arrived = server.handler->take();
  arrived.responder->on_close([&] { gone.set(); });
  arrived.responder->send({.status = 200, .body = "done"});
  EXPECT_EQ(status_of(client.read_answer()), 200);
  client.close();
  server.server->drain(testing::kPatience);
  EXPECT_EQ(gone.count(), 0);
  EXPECT_FALSE(arrived.responder->closed());
}

TEST(HttpServer, CutsAReaderThatIsTooSlow) {
  ServerOptions options;
  options.limits.unsent_bytes = 256u << 10;
  TestServer server(std::move(options));
  RawClient client(server.server->port(), 4096);
  client.send(kHold);
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  arrived.responder->start(200, {});
  const std::string event(16u << 10, 'x');
  size_t written = 0;
  while (written < 64u << 20 && arrived.responder->write(event)) written += event.size();
  EXPECT_LT(written, 64u << 20);
  EXPECT_TRUE(gone.wait());
  EXPECT_TRUE(arrived.responder->closed());
  EXPECT_EQ(server.rejected("slow_reader"), 1u);
}

TEST(HttpServer, CutsAReaderThatTakesNothing) {
  ServerOptions options;
  options.limits.write_timeout = std::chrono::milliseconds(50);
  options.limits.unsent_bytes = 64u << 20;
  TestServer server(std::move(options));
  RawClient client(server.server->port(), 4096);
  client.send(kHold);
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  arrived.responder->start(200, {});
  arrived.responder->write(std::string(32u << 20, 'x'));
  EXPECT_TRUE(gone.wait());
  EXPECT_EQ(server.rejected("write_timeout"), 1u);
}

TEST(HttpServer, SendsALargeBodyWhole) {
  TestServer server;
  RawClient client(server.server->port(), 4096);
  client.send(kHold);
  const std::string body(6u << 20, 'y');
  server.handler->take().responder->send({.status = 200, .body = body});
  EXPECT_TRUE(client.read_answer().ends_with("\r\n\r\n" + body));
}

TEST(HttpServer, DrainWaitsForAnswersAndClosesIdleConnections) {
  TestServer server;
  RawClient idle = server.connect();
  idle.send(kGet);
  EXPECT_EQ(status_of(idle.read_answer()), 200);
  RawClient busy = server.connect();
  busy.send(kHold);
  auto arrived = server.handler->take();
  EXPECT_FALSE(server.server->drain(std::chrono::milliseconds(1)));
  EXPECT_TRUE(idle.at_end());
  EXPECT_FALSE(server.connect().connected());
  std::thread answer([&] { arrived.responder->send({.status = 200, .body = "last"}); });
  EXPECT_TRUE(server.server->drain(testing::kPatience));
  answer.join();
  const std::string last = busy.read_to_end();
  EXPECT_TRUE(last.ends_with("last"));
  EXPECT_NE(last.find("Connection: close"), std::string::npos);
}

TEST(HttpServer, DrainLeavesAMomentForFirstRequests) {
  TestServer server;
  RawClient late = server.connect();
  RawClient silent = server.connect();
  while (server.server->stats().connections_open < 2) std::this_thread::yield();
  EXPECT_FALSE(server.server->drain(std::chrono::milliseconds(1)));
  late.send(kGet);
  const std::string answer = late.read_to_end();
  EXPECT_EQ(status_of(answer), 200);
  EXPECT_NE(answer.find("Connection: close"), std::string::npos);
  EXPECT_TRUE(server.server->drain(testing::kPatience));
  EXPECT_TRUE(silent.at_end());
}

TEST(HttpServer, DestructionCutsWhatIsOpenAndResponderOutlivesIt) {
  TestServer server;
  RawClient client = server.connect();
  client.send(kHold);
  auto arrived = server.handler->take();
  Signal gone;
  arrived.responder->on_close([&] { gone.set(); });
  server.server.reset();
  EXPECT_EQ(gone.count(), 1);
  arrived.responder->send({.status = 200, .body = "nobody"});
  EXPECT_TRUE(client.at_end());
}

TEST(HttpServer, ManyStreamsOverSeveralLoops) {
  ServerOptions options;
  options.io_threads = 3;
  TestServer server(std::move(options));
  constexpr int kStreams = 24;
  constexpr int kEvents = 200;
  std::vector<std::unique_ptr<RawClient>> clients;
  std::vector<testing::Arrived> arrived;
  for (int i = 0; i < kStreams; ++i) {
    clients.push_back(std::make_unique<RawClient>(server.server->port()));
    clients.back()->send(kHold);
    arrived.push_back(server.handler->take());
    arrived.back().responder->start(200, {});
  }
  std::thread writer([&] {
    for (int event = 0; event < kEvents; ++event) {
      for (auto& stream : arrived) EXPECT_TRUE(stream.responder->write("0123456789"));
    }
    for (auto& stream : arrived) stream.responder->finish();
  });
  for (auto& client : clients) {
    client->read_until("\r\n\r\n");
    EXPECT_EQ(client->read_until("0\r\n\r\n").size(), kEvents * (10u + 5u) + 5u);
  }
  writer.join();
}

TEST(HttpServer, RefusesAnAddressInUse) {
  TestServer first;
  ServerOptions options;
  options.port = first.server->port();
  const auto second = HttpServer::start(std::move(options), first.handler);
  ASSERT_FALSE(second);
  EXPECT_NE(second.error().message().find("cannot bind"), std::string::npos);
}

TEST(HttpServer, TakesAListeningSocketMadeElsewhere) {
  auto socket = listen_on("127.0.0.1", 0);
  ASSERT_TRUE(socket);
  ServerOptions options;
  options.listen_fd = ::dup(socket->get());
  TestServer server(std::move(options));
  EXPECT_EQ(server.server->port(), local_port(socket->get()));
  EXPECT_EQ(status_of(server.talk("GET /a HTTP/1.0\r\n\r\n")), 200);
}

}  // namespace
}  // namespace sluice::net
