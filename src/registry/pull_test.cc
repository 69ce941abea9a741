// Sources of this machine and of a web server on loopback.

#include "registry/pull.h"

#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>

#include <thread>

#include "registry/test_support.h"

namespace sluice::registry {
namespace {

namespace fs = std::filesystem;
using testing::Page;

const std::string kModel = "GGUF" + std::string(1000, 'w');

class Pull : public ::testing::Test {
 protected:
  Pull() {
    options_.plain_http = PlainHttp::kAllowed;
    options_.pause = [this](int) { ++pauses_; };
  }

  Result<PullResult> pull_from(const std::string& source) { return pull(cache_, source, options_); }

  // The refusal's message; empty when there was none.
  std::string refusal(const std::string& source) {
    const auto result = pull_from(source);
    return result ? "" : result.error().message();
  }

  // No name and no bytes have come of a failed pull.
  bool cache_is_empty() const {
    std::error_code error;
    for (const auto& entry : fs::directory_iterator(cache_.root() / "blobs", error)) {
      if (entry.is_regular_file()) return false;
    }
    return cache_.list().empty();
  }

  testing::TempFolder folder_;
  testing::TempFolder source_;
  testing::RemoteServer web_;
  ModelCache cache_{folder_.path() / "cache"};
  PullOptions options_;
  int pauses_ = 0;
};

TEST_F(Pull, AFileOfThisMachineIsCopied) {
  const fs::path path = source_.write("m.gguf", kModel);
  for (const std::string& source : {path.string(), "file://" + path.string()}) {
    const auto result = pull_from(source);
    ASSERT_TRUE(result) << result.error().message();
    EXPECT_EQ(result->manifest.name, "m");
    EXPECT_EQ(testing::read(result->path), kModel);
  }
  source_.write("m.gguf", "changed");
  EXPECT_EQ(testing::read(*cache_.resolve("m")), kModel);
}

TEST_F(Pull, AFolderOfThisMachineWithoutItsPickles) {
  source_.write("config.json", "{}");
  source_.write("model.safetensors", "weights");
  source_.write("pytorch_model.bin", "pickle");
  options_.name = "mine";
  const auto result = pull_from(source_.path());
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path / "model.safetensors"), "weights");
  EXPECT_FALSE(fs::exists(result->path / "pytorch_model.bin"));
  options_.checksum = sha256_text("weights");
  EXPECT_NE(refusal(source_.path()).find("this model has 2"), std::string::npos);
}

// Item 59 of the abuse list, as far as it concerns links.
TEST_F(Pull, LinksOutOfAFolderAreRefused) {
  testing::TempFolder outside;
  outside.write("secret.safetensors", "secret");
  source_.write("config.json", "{}");
  source_.write("real.safetensors", "weights");
  fs::create_symlink("real.safetensors", source_.path() / "model.safetensors");
  options_.name = "m";
  const auto inside = pull_from(source_.path());
  ASSERT_TRUE(inside) << inside.error().message();
  fs::remove(source_.path() / "model.safetensors");
  fs::create_symlink(outside.path() / "secret.safetensors", source_.path() / "model.safetensors");
  EXPECT_NE(refusal(source_.path()).find("link out of its folder"), std::string::npos);
}

TEST_F(Pull, SourcesThatAreNoModelAreRefused) {
  EXPECT_NE(refusal("no/such/file.gguf").find("there is no file"), std::string::npos);
  EXPECT_NE(refusal(source_.path()).find("no model found"), std::string::npos);
  EXPECT_NE(refusal(source_.write("m.bin", "x")).find(".gguf file"), std::string::npos);
  EXPECT_NE(refusal(source_.write("m.gguf", "<html>")).find("no GGUF"), std::string::npos);
  EXPECT_NE(refusal(source_.write("na me.gguf", kModel)).find("--name"), std::string::npos);
  EXPECT_TRUE(cache_is_empty());
}

TEST_F(Pull, AUrlWithItsChecksum) {
  web_.remote->set("/m.gguf?key=secret", {.body = kModel});
  options_.checksum = sha256_text(kModel);
  uint64_t last = 0;
  uint64_t total = 0;
  options_.on_progress = [&](const PullProgress& progress) {
    last = progress.done;
    total = progress.total;
    return true;
  };
  const auto result = pull_from(web_.url("/m.gguf?key=secret"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), kModel);
  EXPECT_EQ(result->fetched_bytes, kModel.size());
  EXPECT_EQ(last, kModel.size());
  EXPECT_EQ(total, kModel.size());
  EXPECT_EQ(result->manifest.source.find("secret"), std::string::npos);
  const auto again = pull_from(web_.url("/m.gguf?key=secret"));
  ASSERT_TRUE(again) << again.error().message();
  EXPECT_EQ(again->fetched_bytes, 0u);
  EXPECT_EQ(web_.remote->seen().size(), 1u) << "known bytes are not fetched twice";
}

// Item 61.
TEST_F(Pull, AWrongChecksumIsRefusedWithBoth) {
  web_.remote->set("/m.gguf", {.body = kModel});
  options_.checksum = sha256_text("other");
  const std::string message = refusal(web_.url("/m.gguf"));
  EXPECT_NE(message.find(sha256_text("other") + " expected"), std::string::npos) << message;
  EXPECT_NE(message.find(sha256_text(kModel) + " found"), std::string::npos) << message;
  EXPECT_TRUE(cache_is_empty());
  options_.checksum = "sha256:12";
  EXPECT_NE(refusal(web_.url("/m.gguf")).find("64 hex digits"), std::string::npos);
}

TEST_F(Pull, ACutTransferIsContinued) {
  web_.remote->set("/m.gguf", {.body = kModel, .headers = {{"ETag", "\"v1\""}}, .cuts = 2});
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), kModel);
  EXPECT_EQ(pauses_, 2);
  EXPECT_EQ(web_.remote->seen("/m.gguf", "range"),
            (std::vector<std::string>{"", "bytes=502-", "bytes=753-"}));
  EXPECT_EQ(web_.remote->seen("/m.gguf", "if-range").back(), "\"v1\"");
}

TEST_F(Pull, TheNextPullContinuesWhatAnEndedOneLeft) {
  web_.remote->set("/m.gguf", {.body = kModel, .headers = {{"ETag", "\"v1\""}}, .cuts = 1});
  options_.attempts = 1;
  EXPECT_NE(refusal(web_.url("/m.gguf")), "");
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), kModel);
  EXPECT_EQ(web_.remote->seen("/m.gguf", "range").back(), "bytes=502-");
}

TEST_F(Pull, AFileThatWasReplacedMeanwhileIsFetchedAnew) {
  const std::string newer = "GGUF" + std::string(1000, 'n');
  web_.remote->set("/m.gguf", {.body = kModel, .headers = {{"ETag", "\"v1\""}}, .cuts = 1});
  options_.attempts = 1;
  EXPECT_NE(refusal(web_.url("/m.gguf")), "");
  web_.remote->set("/m.gguf", {.body = newer, .headers = {{"ETag", "\"v2\""}}});
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), newer);
}

TEST_F(Pull, BytesOfAnUnknownVersionAreContinuedOnlyUnderAChecksum) {
  web_.remote->set("/m.gguf", {.body = kModel, .cuts = 1});
  ASSERT_TRUE(pull_from(web_.url("/m.gguf")));
  EXPECT_EQ(web_.remote->seen("/m.gguf", "range"), (std::vector<std::string>{"", ""}));
  web_.remote->set("/n.gguf", {.body = kModel + "n", .cuts = 1});
  options_.checksum = sha256_text(kModel + "n");
  ASSERT_TRUE(pull_from(web_.url("/n.gguf")));
  EXPECT_EQ(web_.remote->seen("/n.gguf", "range"), (std::vector<std::string>{"", "bytes=502-"}));
}

TEST_F(Pull, WrongLeftoversAreThrownAwayOnce) {
  const std::string digest = sha256_text(kModel);
  {
    auto blob = cache_.begin_blob("sha256-" + digest.substr(7), {});
    ASSERT_EQ(::pwrite(blob->fd(), "XXXX", 4, 0), 4);
  }
  web_.remote->set("/m.gguf", {.body = kModel});
  options_.checksum = digest;
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(web_.remote->seen("/m.gguf", "range"), (std::vector<std::string>{"bytes=4-", ""}));
}

TEST_F(Pull, RedirectsAreFollowed) {
  testing::RemoteServer store;
  store.remote->set("/blob", {.body = kModel});
  web_.remote->set("/m.gguf", {.status = 302, .headers = {{"Location", store.url("/blob")}}});
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(testing::read(result->path), kModel);
  EXPECT_EQ(result->path.filename(), "m.gguf") << "named by what was asked";
}

TEST_F(Pull, ARefusalOfTheServerIsNotTriedAgain) {
  for (const auto& [status, code] : std::vector<std::pair<int, Code>>{
           {404, Code::kNotFound}, {401, Code::kUnauthenticated}, {403, Code::kPermissionDenied}}) {
    web_.remote->set("/m.gguf", {.body = "no", .status = status});
    const auto result = pull_from(web_.url("/m.gguf"));
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), code) << result.error().message();
  }
  EXPECT_EQ(pauses_, 0);
  EXPECT_TRUE(cache_is_empty());
}

TEST_F(Pull, AServerThatFailsIsAskedAgainButNotForever) {
  web_.remote->set("/m.gguf", {.body = kModel, .busy = 2});
  ASSERT_TRUE(pull_from(web_.url("/m.gguf")));
  EXPECT_EQ(pauses_, 2);
  web_.remote->set("/n.gguf", {.body = kModel, .busy = 99});
  EXPECT_NE(refusal(web_.url("/n.gguf")).find("503"), std::string::npos);
  EXPECT_EQ(web_.remote->seen("/n.gguf", "range").size(), 5u);
}

TEST_F(Pull, AWebPageInPlaceOfAModelGetsNoName) {
  web_.remote->set("/m.gguf", {.body = "<html>please log in</html>"});
  EXPECT_NE(refusal(web_.url("/m.gguf")).find("no GGUF file"), std::string::npos);
  EXPECT_TRUE(cache_is_empty());
}

// A server that announces more than any disk holds is refused before a byte is stored.
TEST_F(Pull, AHugeDeclaredSizeIsRefused) {
  options_.attempts = 1;
  const auto listening = net::listen_on("127.0.0.1", 0);
  ASSERT_TRUE(listening) << listening.error().message();
  std::thread server([&] {
    pollfd waiting{.fd = listening->get(), .events = POLLIN, .revents = 0};
    if (::poll(&waiting, 1, 20'000) != 1) return;
    const net::Fd connection(::accept(listening->get(), nullptr, nullptr));
    std::vector<char> request(4096);
    EXPECT_GT(::recv(connection.get(), request.data(), request.size(), 0), 0);
    const std::string answer = "HTTP/1.1 200 OK\r\nContent-Length: 900000000000000000\r\n\r\nGGUF";
    ::send(connection.get(), answer.data(), answer.size(), MSG_NOSIGNAL);
  });
  const auto result =
      pull_from(fmt::format("http://127.0.0.1:{}/m.gguf", net::local_port(listening->get())));
  server.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kTooLarge) << result.error().message();
  EXPECT_NE(result.error().message().find("room in the cache"), std::string::npos);
  EXPECT_TRUE(cache_is_empty());
}

TEST_F(Pull, PlainHttpIsRefusedUnlessAllowed) {
  options_.plain_http = PlainHttp::kRefused;
  EXPECT_NE(refusal(web_.url("/m.gguf")).find("--allow-http"), std::string::npos);
  EXPECT_TRUE(web_.remote->seen().empty());
}

TEST_F(Pull, ProgressMayStopIt) {
  web_.remote->set("/m.gguf", {.body = kModel});
  options_.on_progress = [](const PullProgress&) { return false; };
  const auto result = pull_from(web_.url("/m.gguf"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kCancelled);
  EXPECT_TRUE(cache_.list().empty());
}

TEST_F(Pull, OfManyAtOnceOneFetches) {
  web_.remote->set("/m.gguf", {.body = kModel});
  options_.checksum = sha256_text(kModel);
  options_.pause = {};
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 8; ++i) {
    threads.emplace_back([&, i] {
      PullOptions options = options_;
      if (i % 2 == 1) options.name = fmt::format("name{}", i);
      const auto result = pull(cache_, web_.url("/m.gguf"), options);
      if (result && testing::read(result->path) == kModel) ++good;
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 8);
  EXPECT_EQ(web_.remote->seen().size(), 1u);
  EXPECT_EQ(cache_.list().size(), 5u);
}

TEST_F(Pull, ACacheThatCannotBeWrittenIsAnError) {
  folder_.write("cache", "a file in its place");
  const std::string message = refusal(source_.write("m.gguf", kModel));
  EXPECT_NE(message.find("cannot create"), std::string::npos) << message;
}

}  // namespace
}  // namespace sluice::registry
