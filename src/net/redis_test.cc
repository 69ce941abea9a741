// The replies of Redis, and the client before a real redis-server.
#include <filesystem>
#include <future>
#include <thread>

#include "base/rng.h"
#include "net/redis_client.h"
#include "net/redis_test_support.h"
#include "net/test_certificates.h"
#include "net/test_support.h"
#include "net/tls.h"

namespace sluice::net {
namespace {

using testing::Certificate;
using testing::free_port;
using testing::kPatience;
using testing::RedisServer;
using testing::Signal;

std::string shown(const RedisReply& reply) {
  switch (reply.kind) {
    case RedisReply::Kind::kNull:
      return "null";
    case RedisReply::Kind::kStatus:
      return "+" + reply.text;
    case RedisReply::Kind::kError:
      return "-" + reply.text;
    case RedisReply::Kind::kInteger:
      return std::to_string(reply.integer);
    case RedisReply::Kind::kText:
      return "'" + reply.text + "'";
    case RedisReply::Kind::kArray:
      break;
  }
  std::string out = "[";
  for (const RedisReply& item : reply.items) out += shown(item) + " ";
  return out + "]";
}

// All replies in `bytes`, fed in pieces of `piece` bytes; "fault" at a fault.
std::string read_all(std::string_view bytes, size_t piece) {
  RedisReplyParser parser;
  std::string out;
  while (!bytes.empty()) {
    const std::string_view next = bytes.substr(0, piece);
    const size_t taken = parser.feed(next);
    bytes.remove_prefix(taken);
    if (parser.state() == RedisReplyParser::State::kFault) return out + "fault";
    if (parser.state() == RedisReplyParser::State::kDone) out += shown(parser.take()) + ";";
  }
  return out;
}

TEST(RedisReplyTest, ReadsEveryKindHoweverItIsSplit) {
  const std::string bytes =
      "+OK\r\n-ERR no\r\n:-7\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n"
      "*3\r\n:1\r\n*2\r\n$1\r\nx\r\n$-1\r\n+y\r\n";
  const std::string all = "+OK;-ERR no;-7;'a\r\nbc';'';null;null;[];[1 ['x' null ] +y ];";
  for (const size_t piece : {size_t{1}, size_t{2}, size_t{7}, bytes.size()}) {
    EXPECT_EQ(read_all(bytes, piece), all) << piece;
  }
}

TEST(RedisReplyTest, RefusesWhatIsNone) {
  for (const std::string& bytes :
       {std::string("HTTP/1.1 400 Bad Request\r\n"), std::string("\r\n"), std::string("+\n"),
        std::string(":1x\r\n"), std::string(":\r\n"), std::string("$-2\r\n"),
        std::string("$1\r\nxyz\r\n"), std::string("*99999999999\r\n"), std::string("$1048577\r\n"),
        std::string("$9223372036854775807\r\n"), std::string("*5000\r\n"),
        std::string(2u << 20, 'a')}) {
    EXPECT_TRUE(read_all(bytes, 4096).ends_with("fault")) << bytes.substr(0, 40);
  }
  std::string deep;
  for (int i = 0; i < 9; ++i) deep += "*1\r\n";
  EXPECT_EQ(read_all(deep, 64), "fault");
  std::string many = "*2\r\n";
  for (int i = 0; i < 2; ++i) {
    many += "*4000\r\n";
    for (int j = 0; j < 4000; ++j) many += ":1\r\n";
  }
  EXPECT_EQ(read_all(many, 1 << 16), "fault");
}

// A client on a loop of its own; its calls are waited for.
class Client {
 public:
  explicit Client(RedisOptions options) {
    client_ =
        std::make_shared<RedisClient>(loop_, std::move(options), [this](const Outcome& state) {
          {
            const std::lock_guard lock(mutex_);
            last_ = state ? "up" : state.error().message();
          }
          (state ? up : down).set();
        });
    thread_ = std::thread([loop = loop_] { loop->run(); });
    loop_->post([client = client_] { client->start(); });
  }
  ~Client() {
    loop_->post([client = client_] { client->stop(); });
    loop_->stop();
    thread_.join();
  }

  std::future<Result<RedisReply>> begin(std::vector<std::string> command) {
    auto answer = std::make_shared<std::promise<Result<RedisReply>>>();
    loop_->post([client = client_, command = std::move(command), answer] {
      client->call(command,
                   [answer](Result<RedisReply> reply) { answer->set_value(std::move(reply)); });
    });
    return answer->get_future();
  }
  static Result<RedisReply> wait(std::future<Result<RedisReply>> answer) {
    if (answer.wait_for(kPatience) != std::future_status::ready) {
      ADD_FAILURE() << "no answer";
      return fail(Code::kInternal, "");
    }
    return answer.get();
  }
  std::string ask(std::vector<std::string> command) {
    const auto reply = wait(begin(std::move(command)));
    return reply ? shown(*reply) : reply.error().reason();
  }
  std::string last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }

  Signal up, down;

 private:
  std::shared_ptr<EventLoop> loop_ = *EventLoop::create();
  std::shared_ptr<RedisClient> client_;
  std::thread thread_;
  std::mutex mutex_;
  std::string last_;
};

constexpr std::chrono::seconds kLong{20};

TEST(RedisClientTest, AnswersComeInTheirOrder) {
  const RedisServer server;
  Client client({.unix_path = server.socket(), .database = 3, .timeout = kLong});
  EXPECT_EQ(client.ask({"SET", "a", std::string("x\r\n\0y", 5)}), "+OK");
  EXPECT_EQ(client.ask({"GET", "a"}), "'" + std::string("x\r\n\0y", 5) + "'");
  EXPECT_EQ(client.ask({"NONSENSE"}), "ERR");
  std::vector<std::future<Result<RedisReply>>> answers;
  answers.reserve(2000);
  for (int i = 0; i < 2000; ++i) answers.push_back(client.begin({"INCR", "n"}));
  for (int i = 0; i < 2000; ++i) {
    const auto reply = Client::wait(std::move(answers[static_cast<size_t>(i)]));
    ASSERT_TRUE(reply);
    ASSERT_EQ(reply->integer, i + 1);
  }
  Client other({.unix_path = server.socket(), .timeout = kLong});
  EXPECT_EQ(other.ask({"GET", "a"}), "null");  // of another database
}

TEST(RedisClientTest, SaysWhoItIs) {
  const RedisServer server({"--requirepass", "secret"});
  Client client({.unix_path = server.socket(), .password = "secret", .timeout = kLong});
  EXPECT_EQ(client.ask({"PING"}), "+PONG");
  Client stranger({.unix_path = server.socket(), .timeout = kLong});
  EXPECT_TRUE(stranger.down.wait());
  EXPECT_TRUE(stranger.last().contains("NOAUTH")) << stranger.last();
  Client wrong({.unix_path = server.socket(), .password = "guess", .timeout = kLong});
  EXPECT_TRUE(wrong.down.wait());
  EXPECT_TRUE(wrong.last().contains("AUTH") && wrong.last().contains("WRONGPASS")) << wrong.last();
  EXPECT_FALSE(wrong.last().contains("guess"));
}

TEST(RedisClientTest, SpeaksTls) {
  const std::string folder = RedisServer::make_folder();
  const Certificate authority(folder, "ca");
  const Certificate identity(folder, "redis", "DNS:redis.test", &authority);
  const uint16_t port = free_port();
  const RedisServer server({"--tls-port", std::to_string(port), "--tls-cert-file",
                            identity.identity().certificate_file, "--tls-key-file",
                            identity.identity().key_file, "--tls-ca-cert-file", authority.file(),
                            "--tls-auth-clients", "no"});
  const auto tls = *TlsContext::for_client({.ca_file = authority.file()});
  Client client(
      {.host = "127.0.0.1", .port = port, .tls = tls, .tls_name = "redis.test", .timeout = kLong});
  EXPECT_EQ(client.ask({"ECHO", std::string(100'000, 'a')}), "'" + std::string(100'000, 'a') + "'");
  Client stranger({.host = "127.0.0.1", .port = port, .tls = tls, .timeout = kLong});
  EXPECT_TRUE(stranger.down.wait());
  EXPECT_TRUE(stranger.last().contains("mismatch")) << stranger.last();
  std::filesystem::remove_all(folder);
}

TEST(RedisClientTest, ALossIsToldAndMended) {
  RedisServer server;
  Client client({.unix_path = server.socket(), .timeout = kLong});
  EXPECT_EQ(client.ask({"PING"}), "+PONG");
  auto held = client.begin({"BLPOP", "nothing", "0"});
  EXPECT_EQ(client.up.count(), 1);
  // What Redis has not been told yet is not lost but not sent.
  Client other({.unix_path = server.socket(), .timeout = kLong});
  while (!other.ask({"INFO", "clients"}).contains("blocked_clients:1")) std::this_thread::yield();
  server.kill();
  const auto lost = Client::wait(std::move(held));
  ASSERT_FALSE(lost);
  EXPECT_EQ(lost.error().reason(), RedisClient::kLost);
  EXPECT_TRUE(client.down.wait());
  server.start();
  EXPECT_TRUE(client.up.wait(2));
  EXPECT_EQ(client.ask({"PING"}), "+PONG");
}

TEST(RedisClientTest, WhoDoesNotAnswerIsGivenUp) {
  RedisServer server;
  Client client({.unix_path = server.socket(), .timeout = std::chrono::milliseconds(100)});
  EXPECT_TRUE(client.up.wait());
  server.stop_running();
  const auto lost = Client::wait(client.begin({"PING"}));
  ASSERT_FALSE(lost);
  EXPECT_TRUE(client.down.wait());
  EXPECT_TRUE(client.last().contains("no answer within")) << client.last();
  server.go_on();
  EXPECT_TRUE(client.up.wait(2));
}

TEST(RedisClientTest, WithoutAServerCommandsFailAtOnce) {
  Client client({.host = "127.0.0.1", .port = free_port(), .timeout = kLong});
  EXPECT_TRUE(client.down.wait());
  EXPECT_TRUE(client.last().contains("cannot connect")) << client.last();
  std::string reason;
  while (reason.empty()) reason = client.ask({"PING"});
  EXPECT_EQ(reason, RedisClient::kNotSent);
}

// Whatever speaks HTTP is told from Redis.
TEST(RedisClientTest, WhatIsNoRedisIsRefused) {
  const testing::TestServer http;
  Client client({.host = "127.0.0.1", .port = http.server->port(), .timeout = kLong});
  EXPECT_TRUE(client.down.wait());
  EXPECT_TRUE(client.last().contains("no Redis")) << client.last();
}

}  // namespace
}  // namespace sluice::net
