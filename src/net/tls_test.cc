// TLS between this room's server and client, and against OpenSSL's own client.
#include "net/tls.h"

#include <openssl/ssl.h>

#include <array>
#include <thread>

#include "net/client.h"
#include "net/stream.h"
#include "net/test_certificates.h"
#include "net/test_support.h"

namespace sluice::net {
namespace {

using testing::Certificate;
using testing::kPatience;
using testing::RawClient;
using testing::status_of;
using testing::TestServer;

constexpr std::string_view kGet = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";

// A blocking socket under TLS, so that every step is over when it returns.
class SecureClient {
 public:
  SecureClient(uint16_t port, const TlsContext& tls, const std::string& host) {
    const auto addresses = resolve("127.0.0.1", port);
    Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
    const timeval limit{.tv_sec = kPatience.count(), .tv_usec = 0};
    ::setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    EXPECT_EQ(::connect(fd.get(), addresses->front().raw(), addresses->front().length), 0);
    stream_ = Stream(std::move(fd));
    stream_.connect_tls(tls, host);
    state_ = stream_.handshake();
  }

  bool secured() const { return state_ == Stream::State::kDone; }
  const std::string& error() const { return stream_.error(); }

  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto moved = stream_.write(bytes);
      if (moved.state != Stream::State::kDone) return false;
      bytes.remove_prefix(moved.bytes);
    }
    return true;
  }

  // What comes until `end` has come, or the connection ends.
  std::string read_until(std::string_view end) {
    std::string all;
    std::array<char, 1> space;  // a blocking read waits until its space is full
    while (!all.ends_with(end)) {
      const auto moved = stream_.read(space);
      if (moved.bytes == 0) break;
      all.append(space.data(), moved.bytes);
    }
    return all;
  }

 private:
  Stream stream_;
  Stream::State state_ = Stream::State::kBroken;
};

class TlsTest : public ::testing::Test {
 protected:
  static std::string make_folder() {
    std::string name = ::testing::TempDir() + "sluice_tls_XXXXXX";
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    return name;
  }
  ~TlsTest() override { std::filesystem::remove_all(folder_); }

  static std::shared_ptr<const TlsContext> server_tls(const TlsServerOptions& options) {
    auto context = TlsContext::for_server(options);
    EXPECT_TRUE(context) << context.error().message();
    return *context;
  }

  std::shared_ptr<const TlsContext> client_tls(TlsIdentity identity = {}) const {
    auto context =
        TlsContext::for_client({.ca_file = authority_.file(), .identity = std::move(identity)});
    EXPECT_TRUE(context) << context.error().message();
    return *context;
  }

  static ServerOptions with(std::shared_ptr<const TlsContext> tls) {
    ServerOptions options;
    options.tls = std::move(tls);
    return options;
  }

  Result<HttpResponse> fetch(const TestServer& server, std::shared_ptr<const TlsContext> tls,
                             std::string body = {}) {
    return client_.fetch(
        {.method = "POST",
         .url = "https://127.0.0.1:" + std::to_string(server.server->port()) + "/echo",
         .body = std::move(body),
         .tls = std::move(tls)});
  }

  const std::string folder_ = make_folder();
  const Certificate authority_{folder_, "authority"};
  const Certificate stranger_{folder_, "stranger"};
  const Certificate here_{folder_, "here", "IP:127.0.0.1,DNS:here.test", &authority_};
  const Certificate there_{folder_, "there", "DNS:*.there.test", &authority_};
  HttpClient client_;
};

TEST_F(TlsTest, BodiesOfAnySizeOverOneConnection) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const auto tls = client_tls();
  for (const size_t size : {0u, 1u, 16384u, 16385u, 300'000u, 3'000'000u}) {
    std::string body(size, 'x');
    for (size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + i % 23);
    const auto answer = fetch(server, tls, body);
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->status, 200);
    EXPECT_EQ(answer->body, body);
  }
  EXPECT_EQ(server.server->stats().connections_accepted, 1u);
}

TEST_F(TlsTest, StreamedAnswersComeAsTheyAreWritten) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const auto tls = client_tls();
  SecureClient client(server.server->port(), *tls, "127.0.0.1");
  ASSERT_TRUE(client.secured()) << client.error();
  ASSERT_TRUE(client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto held = server.handler->take();
  ASSERT_TRUE(held.responder);
  held.responder->start(200, {});
  EXPECT_EQ(status_of(client.read_until("\r\n\r\n")), 200);
  for (const std::string part : {"first", "second"}) {
    ASSERT_TRUE(held.responder->write(part));
    EXPECT_TRUE(client.read_until("\r\n" + part + "\r\n").ends_with(part + "\r\n"));
  }
  held.responder->finish();
  EXPECT_EQ(client.read_until("0\r\n\r\n"), "0\r\n\r\n");
}

// More than is kept behind a request lies in OpenSSL and in the socket until the answer is out.
TEST_F(TlsTest, WhatIsPipelinedBehindAHeldRequestIsNotLost) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const auto tls = client_tls();
  SecureClient client(server.server->port(), *tls, "127.0.0.1");
  ASSERT_TRUE(client.send("GET /hold HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto held = server.handler->take();
  ASSERT_TRUE(held.responder);
  const std::string body(400'000, 'b');
  std::jthread sender([&] {
    client.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
                "\r\n\r\n" + body);
  });
  while (server.server->stats().bytes_received < 64u << 10) std::this_thread::yield();
  held.responder->send({.status = 200, .headers = {}, .body = "held"});
  sender.join();
  EXPECT_TRUE(client.read_until("held").ends_with("held"));
  client.read_until("\r\n\r\n");
  EXPECT_EQ(client.read_until(body).size(), body.size());
}

TEST_F(TlsTest, ClientsBelieveOnlyTheRightServer) {
  TestServer elsewhere(with(server_tls({.identities = {there_.identity()}})));
  auto answer = fetch(elsewhere, client_tls());
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().reason(), kNotConnected);
  EXPECT_NE(answer.error().message().find("mismatch"), std::string::npos)
      << answer.error().message();

  TestServer unknown(with(server_tls({.identities = {stranger_.identity()}})));
  answer = fetch(unknown, client_tls());
  ASSERT_FALSE(answer);
  EXPECT_NE(answer.error().message().find("self-signed"), std::string::npos)
      << answer.error().message();

  TestServer plain;
  EXPECT_FALSE(fetch(plain, client_tls()));
}

TEST_F(TlsTest, ClientCertificatesAreAskedForAndChecked) {
  TestServer strict(
      with(server_tls({.identities = {here_.identity()}, .client_ca_file = authority_.file()})));
  EXPECT_FALSE(fetch(strict, client_tls()));
  EXPECT_FALSE(fetch(strict, client_tls(stranger_.identity())));
  const auto known = fetch(strict, client_tls(there_.identity()), "hello");
  ASSERT_TRUE(known) << known.error().message();
  EXPECT_EQ(known->body, "hello");

  TestServer lenient(with(server_tls({.identities = {here_.identity()},
                                      .client_ca_file = authority_.file(),
                                      .client_certificate_required = false})));
  EXPECT_TRUE(fetch(lenient, client_tls()));
  EXPECT_FALSE(fetch(lenient, client_tls(stranger_.identity())));
}

TEST_F(TlsTest, TheServerNameChoosesTheCertificate) {
  TestServer server(with(server_tls({.identities = {here_.identity(), there_.identity()}})));
  const auto tls = client_tls();
  for (const std::string name : {"here.test", "a.there.test", "127.0.0.1"}) {
    SecureClient client(server.server->port(), *tls, name);
    EXPECT_TRUE(client.secured()) << name << ": " << client.error();
  }
  for (const std::string name : {"there.test", "a.b.there.test", "else.test"}) {
    EXPECT_FALSE(SecureClient(server.server->port(), *tls, name).secured()) << name;
  }
}

TEST_F(TlsTest, NewCertificatesAreForNewConnections) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const auto tls = client_tls();
  SecureClient before(server.server->port(), *tls, "here.test");
  ASSERT_TRUE(before.secured()) << before.error();
  server.server->set_tls(server_tls({.identities = {there_.identity()}}));
  EXPECT_TRUE(SecureClient(server.server->port(), *tls, "a.there.test").secured());
  EXPECT_FALSE(SecureClient(server.server->port(), *tls, "here.test").secured());
  ASSERT_TRUE(before.send(kGet));
  EXPECT_TRUE(before.read_until("ok").ends_with("ok"));
}

TEST_F(TlsTest, PlainHttpIsToldAndGarbageClosed) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  RawClient plain = server.connect();
  plain.send(kGet);
  const std::string answer = plain.read_answer();
  EXPECT_EQ(status_of(answer), 400);
  EXPECT_NE(answer.find("HTTPS"), std::string::npos);
  EXPECT_TRUE(plain.at_end());  // and the length that was told is the body's
  server.talk(std::string(500, '\x16'));
  server.talk("\x16\x03\x01\xff\xff" + std::string(300, '\0'));
  EXPECT_EQ(server.rejected("plain_http"), 1u);
  EXPECT_EQ(server.rejected("tls_handshake"), 2u);
  ASSERT_TRUE(fetch(server, client_tls()));
}

TEST_F(TlsTest, AHandshakeHasADeadline) {
  ServerOptions options = with(server_tls({.identities = {here_.identity()}}));
  options.limits.header_timeout = std::chrono::milliseconds(50);
  TestServer server(std::move(options));
  RawClient silent = server.connect();
  EXPECT_TRUE(silent.at_end());
}

TEST_F(TlsTest, DrainEndsHandshakesAndIdleConnections) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const auto tls = client_tls();
  SecureClient idle(server.server->port(), *tls, "here.test");
  RawClient silent = server.connect();
  while (server.server->stats().connections_open < 2) std::this_thread::yield();
  EXPECT_TRUE(server.server->drain(kPatience));
  EXPECT_EQ(idle.read_until("x"), "");
  EXPECT_TRUE(silent.at_end());
}

// A client of its own, to say what ours would not.
bool openssl_connects(uint16_t port, const std::function<void(SSL_CTX*)>& set) {
  const auto addresses = resolve("127.0.0.1", port);
  const Fd fd(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (::connect(fd.get(), addresses->front().raw(), addresses->front().length) != 0) return false;
  const std::unique_ptr<SSL_CTX, TlsContext::Free> context(SSL_CTX_new(TLS_client_method()));
  SSL_CTX_set_security_level(context.get(), 0);
  set(context.get());
  const TlsContext::Session session(SSL_new(context.get()));
  SSL_set_fd(session.get(), fd.get());
  if (SSL_connect(session.get()) != 1) return false;
  // In TLS 1.3 the server's refusal comes behind the client's last word.
  std::string answer(64, '\0');
  SSL_write(session.get(), kGet.data(), static_cast<int>(kGet.size()));
  return SSL_read(session.get(), answer.data(), 64) > 0;
}

TEST_F(TlsTest, OnlyVersionsAndProtocolsThatWeSpeak) {
  TestServer server(with(server_tls({.identities = {here_.identity()}})));
  const uint16_t port = server.server->port();
  const auto only = [](int version) {
    return [version](SSL_CTX* c) {
      SSL_CTX_set_min_proto_version(c, version);
      SSL_CTX_set_max_proto_version(c, version);
    };
  };
  EXPECT_TRUE(openssl_connects(port, only(TLS1_3_VERSION)));
  EXPECT_TRUE(openssl_connects(port, only(TLS1_2_VERSION)));
  EXPECT_FALSE(openssl_connects(port, only(TLS1_1_VERSION)));
  EXPECT_FALSE(openssl_connects(port, only(TLS1_VERSION)));
  EXPECT_FALSE(openssl_connects(port, [&](SSL_CTX* c) {
    only(TLS1_2_VERSION)(c);
    SSL_CTX_set_cipher_list(c, "AES128-SHA");
  }));
  EXPECT_FALSE(openssl_connects(port, [](SSL_CTX* c) {
    SSL_CTX_set_alpn_protos(c, reinterpret_cast<const unsigned char*>("\x02h2"), 3);
  }));
  EXPECT_TRUE(openssl_connects(port, [](SSL_CTX* c) {
    SSL_CTX_set_alpn_protos(c, reinterpret_cast<const unsigned char*>("\x02h2\x08http/1.1"), 12);
  }));
}

TEST_F(TlsTest, FilesThatCannotBeUsedAreNamed) {
  const auto refusal = [](const TlsServerOptions& options) {
    const auto context = TlsContext::for_server(options);
    return context ? std::string() : context.error().message();
  };
  const TlsIdentity good = here_.identity();
  EXPECT_NE(refusal({.identities = {{folder_ + "/none.pem", good.key_file}}}).find("none.pem"),
            std::string::npos);
  EXPECT_NE(refusal({.identities = {{good.certificate_file, good.certificate_file}}})
                .find("as the private key"),
            std::string::npos);
  EXPECT_NE(refusal({.identities = {{good.certificate_file, there_.identity().key_file}}})
                .find("mismatch"),
            std::string::npos);
  EXPECT_NE(refusal({.identities = {good}, .client_ca_file = good.key_file}).find("authorities"),
            std::string::npos);
  EXPECT_NE(refusal({.identities = {}}).find("needs a certificate"), std::string::npos);

  const std::string locked = folder_ + "/locked.key";
  const std::unique_ptr<BIO, decltype(&BIO_free)> file(BIO_new_file(locked.c_str(), "w"),
                                                       &BIO_free);
  ASSERT_NE(file, nullptr);
  PEM_write_bio_PrivateKey(file.get(), here_.key(), EVP_aes_128_cbc(),
                           reinterpret_cast<const unsigned char*>("pass"), 4, nullptr, nullptr);
  ASSERT_EQ(BIO_flush(file.get()), 1);
  EXPECT_NE(refusal({.identities = {{good.certificate_file, locked}}}).find("locked.key"),
            std::string::npos);
}

}  // namespace
}  // namespace sluice::net
