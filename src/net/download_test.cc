#include "net/download.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <mutex>
#include <thread>

#include "base/files.h"
#include "net/test_support.h"

namespace sluice::net {
namespace {

// A host of files: each test says how a request is answered, and sees what was asked.
class Host : public HttpHandler {
 public:
  using Answer = std::function<HttpResponse(const HttpRequest&)>;

  explicit Host(Answer answer) : answer_(std::move(answer)) {}

  void handle(HttpRequest request, std::shared_ptr<Responder> responder) override {
    HttpResponse response = answer_(request);
    {
      const std::lock_guard lock(mutex_);
      seen_.push_back(std::move(request));
    }
    responder->send(std::move(response));
  }

  std::vector<HttpRequest> seen() {
    const std::lock_guard lock(mutex_);
    return seen_;
  }

 private:
  Answer answer_;
  std::mutex mutex_;
  std::vector<HttpRequest> seen_;
};

class Download : public ::testing::Test {
 protected:
  Download() {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    folder_ = std::filesystem::temp_directory_path() /
              fmt::format("sluice_download_{}_{}", ::getpid(), test->name());
    std::filesystem::create_directories(folder_);
    file_ = folder_ / "file";
    options_.allow_http = true;
  }
  ~Download() override { std::filesystem::remove_all(folder_); }

  std::string serve(Host::Answer answer) {
    host_ = std::make_shared<Host>(std::move(answer));
    auto started = HttpServer::start({}, host_);
    EXPECT_TRUE(started);
    servers_.push_back(std::move(*started));
    return fmt::format("http://127.0.0.1:{}", servers_.back()->port());
  }

  std::string content() const { return read_file(file_, 1u << 24).value_or("unreadable"); }
  void put(std::string_view bytes) { ASSERT_TRUE(write_file_atomically(file_, bytes)); }

  std::filesystem::path folder_;
  std::filesystem::path file_;
  DownloadOptions options_;
  std::shared_ptr<Host> host_;
  std::vector<std::unique_ptr<HttpServer>> servers_;
};

const std::string kWhole = "0123456789";

// A host that honours "Range: bytes=N-" and has one version of the file.
HttpResponse with_ranges(const HttpRequest& request) {
  const std::string range(request.header("range"));
  const std::string condition(request.header("if-range"));
  const bool same = condition.empty() || condition == "\"v1\"";
  if (range.empty() || !same) {
    return {.status = 200, .headers = {{"ETag", "\"v1\""}}, .body = kWhole};
  }
  const size_t first = std::stoul(range.substr(6));
  if (first >= kWhole.size()) {
    return {.status = 416, .headers = {{"Content-Range", "bytes */10"}}, .body = "none"};
  }
  return {.status = 206,
          .headers = {{"ETag", "\"v1\""}, {"Content-Range", fmt::format("bytes {}-9/10", first)}},
          .body = kWhole.substr(first)};
}

TEST_F(Download, FetchesAFile) {
  const std::string url = serve(with_ranges) + "/f?token=x";
  uint64_t last = 0;
  std::string begun_with;
  options_.on_begin = [&](const std::string& etag) { begun_with = etag; };
  options_.on_progress = [&](uint64_t done, uint64_t) {
    last = std::max(last, done);
    return true;
  };
  const auto result = download(url, file_, options_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->bytes, 10u);
  EXPECT_EQ(result->resumed_from, 0u);
  EXPECT_EQ(result->etag, "\"v1\"");
  EXPECT_EQ(begun_with, "\"v1\"");
  EXPECT_EQ(result->final_url, url);
  EXPECT_EQ(content(), kWhole);
  EXPECT_LE(last, 10u);
}

TEST_F(Download, ContinuesAPartialFile) {
  const std::string url = serve(with_ranges);
  put("01234");
  options_.etag = "\"v1\"";
  const auto result = download(url, file_, options_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->resumed_from, 5u);
  EXPECT_EQ(content(), kWhole);
  EXPECT_EQ(host_->seen().at(0).header("range"), "bytes=5-");
}

TEST_F(Download, BeginsAnewWhenTheServerHasAnotherVersionOrNoRanges) {
  const std::string url = serve(with_ranges);
  put("other");
  options_.etag = "\"v0\"";
  ASSERT_TRUE(download(url, file_, options_));
  EXPECT_EQ(content(), kWhole);
  const std::string plain =
      serve([](const HttpRequest&) { return HttpResponse{.status = 200, .body = "short"}; });
  ASSERT_TRUE(download(plain, file_, options_));
  EXPECT_EQ(content(), "short");
}

TEST_F(Download, ACompleteFileIsLeftAlone) {
  const std::string url = serve(with_ranges);
  put(kWhole);
  const auto result = download(url, file_, options_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(content(), kWhole);
}

TEST_F(Download, AFileThatIsTooLongIsFetchedAnew) {
  const std::string url = serve(with_ranges);
  put(kWhole + "more");
  ASSERT_TRUE(download(url, file_, options_));
  EXPECT_EQ(content(), kWhole);
}

TEST_F(Download, AWrongRangeIsNotAppended) {
  const std::string url = serve([](const HttpRequest& request) {
    if (request.header("range").empty()) return HttpResponse{.status = 200, .body = kWhole};
    return HttpResponse{
        .status = 206, .headers = {{"Content-Range", "bytes 0-9/10"}}, .body = kWhole};
  });
  put("01234");
  ASSERT_TRUE(download(url, file_, options_));
  EXPECT_EQ(content(), kWhole);
}

TEST_F(Download, ErrorsNameTheStatusButNoQueryAndKeepTheFile) {
  const std::string url = serve(
      [](const HttpRequest&) { return HttpResponse{.status = 404, .body = "page not found"}; });
  put("01234");
  const auto result = download(url + "/f?secret=1", file_, options_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kNotFound);
  EXPECT_NE(result.error().message().find("404"), std::string::npos);
  EXPECT_EQ(result.error().message().find("secret"), std::string::npos);
  EXPECT_EQ(content(), "01234");
}

TEST_F(Download, AnswersCutShortAreErrorsAndCanBeContinued) {
  testing::TestServer server;
  std::thread cut([&] {
    auto arrived = server.handler->take();
    arrived.responder->start(200, {});
    arrived.responder->write("01234");
    arrived.responder.reset();
  });
  const auto result =
      download(fmt::format("http://127.0.0.1:{}/hold", server.server->port()), file_, options_);
  cut.join();
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kUnavailable);
  ASSERT_TRUE(download(serve(with_ranges), file_, options_));
  EXPECT_EQ(content(), kWhole);
}

TEST_F(Download, TakesOnlySoMuch) {
  options_.max_bytes = 9;
  const auto result = download(serve(with_ranges), file_, options_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kTooLarge);
  EXPECT_FALSE(fetch_url(serve(with_ranges), options_));
}

TEST_F(Download, StopsWhenProgressSaysSo) {
  options_.on_progress = [](uint64_t, uint64_t) { return false; };
  const auto result = download(serve(with_ranges), file_, options_);
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code(), Code::kCancelled);
}

TEST_F(Download, FollowsRedirectsButNotForever) {
  const std::string target = serve(with_ranges);
  const std::string other = serve([&](const HttpRequest&) {
    return HttpResponse{.status = 302, .headers = {{"Location", target + "/there"}}};
  });
  options_.headers = {{"Authorization", "Bearer secret"}};
  const auto result = download(other, file_, options_);
  ASSERT_TRUE(result) << result.error().message();
  EXPECT_EQ(result->final_url, target + "/there");
  const std::string loop = serve([](const HttpRequest&) {
    return HttpResponse{.status = 302, .headers = {{"Location", "/again"}}};
  });
  const auto forever = download(loop, file_, options_);
  ASSERT_FALSE(forever);
  EXPECT_EQ(forever.error().code(), Code::kFailedPrecondition);
  EXPECT_EQ(host_->seen().size(), 9u);
}

TEST_F(Download, AKeyDoesNotTravelToAnotherHost) {
  const std::string target = serve(with_ranges);
  const auto target_host = host_;
  const std::string first = serve([&](const HttpRequest&) {
    return HttpResponse{.status = 302, .headers = {{"Location", target}}};
  });
  options_.headers = {{"Authorization", "Bearer secret"}};
  ASSERT_TRUE(download(first, file_, options_));
  EXPECT_EQ(host_->seen().at(0).header("authorization"), "Bearer secret");
  EXPECT_EQ(target_host->seen().at(0).header("authorization"), "");
}

// Items 52 and 55.
TEST_F(Download, OtherSchemesAreRefusedAlsoBehindARedirect) {
  for (const std::string location : {"file:///etc/passwd", "ftp://127.0.0.1/", "gopher://x/"}) {
    EXPECT_FALSE(download(location, file_, options_)) << location;
    const std::string url = serve([&](const HttpRequest&) {
      return HttpResponse{.status = 302, .headers = {{"Location", location}}};
    });
    const auto result = download(url, file_, options_);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error().code(), Code::kInvalidArgument) << location;
  }
  options_.allow_http = false;
  EXPECT_FALSE(download(serve(with_ranges), file_, options_));
  EXPECT_TRUE(host_->seen().empty());
}

TEST_F(Download, PublicOnlyRefusesInnerAddressesByWhateverName) {
  const std::string url = serve(with_ranges);
  options_.addresses = AddressPolicy::kPublicOnly;
  const std::string port = url.substr(url.rfind(':'));
  for (const std::string host : {"127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1",
                                 "[::ffff:127.0.0.1]", "0.0.0.0"}) {
    const auto result = fetch_url("http://" + host + port, options_);
    ASSERT_FALSE(result) << host;
    EXPECT_EQ(result.error().code(), Code::kPermissionDenied) << result.error().message();
  }
  EXPECT_TRUE(host_->seen().empty());
}

TEST_F(Download, FetchUrlTakesEveryStatus) {
  const std::string url = serve([](const HttpRequest& request) {
    return HttpResponse{
        .status = 401, .headers = {{"X-Reason", std::string(request.header("x-a"))}}, .body = "no"};
  });
  options_.headers = {{"X-A", "b"}};
  const auto answer = fetch_url(url, options_);
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->status, 401);
  EXPECT_EQ(answer->body, "no");
  EXPECT_EQ(find_header(answer->headers, "x-reason"), "b");
  options_.headers = {{"X-A", "b\r\nC: d"}};
  EXPECT_FALSE(fetch_url(url, options_));
}

TEST_F(Download, AFileThatCannotBeWrittenIsAnError) {
  EXPECT_FALSE(download(serve(with_ranges), folder_ / "no" / "file", options_));
  EXPECT_FALSE(download(serve(with_ranges), folder_, options_));
}

}  // namespace
}  // namespace sluice::net
