#include <fmt/format.h>
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/files.h"
#include "cli/spot/metadata.h"
#include "cli/spot/watcher.h"
#include "net/server.h"

namespace sluice::cli {
namespace {

constexpr double kNow = 1.7e9;

std::optional<SpotNotice> notice(Cloud cloud, int status, std::string_view body,
                                 const std::string& first = {}) {
  const auto read = read_notice(cloud, status, body, first, kNow);
  EXPECT_TRUE(read.has_value()) << body;
  return read ? *read : std::nullopt;
}

bool unreadable(Cloud cloud, int status, std::string_view body) {
  return !read_notice(cloud, status, body, {}, kNow).has_value();
}

TEST(SpotMetadata, Aws) {
  EXPECT_FALSE(notice(Cloud::kAws, 404, "not found").has_value());
  const auto given =
      notice(Cloud::kAws, 200, R"({"action": "terminate", "time": "2023-11-14T22:15:20Z"})");
  ASSERT_TRUE(given.has_value());
  EXPECT_DOUBLE_EQ(given->ends_unix, kNow + 120);
  EXPECT_TRUE(given->reason.contains("terminate"));
  EXPECT_DOUBLE_EQ(notice(Cloud::kAws, 200, R"({"action":"stop"})")->ends_unix, kNow + 30);
  EXPECT_TRUE(unreadable(Cloud::kAws, 200, "gone"));
  EXPECT_TRUE(unreadable(Cloud::kAws, 401, ""));
  EXPECT_EQ(first_request(Cloud::kAws)->method, "PUT");
  EXPECT_EQ(notice_request(Cloud::kAws, "token").headers.front().second, "token");
}

TEST(SpotMetadata, Gcp) {
  EXPECT_FALSE(notice(Cloud::kGcp, 200, "FALSE").has_value());
  EXPECT_DOUBLE_EQ(notice(Cloud::kGcp, 200, "TRUE\n")->ends_unix, kNow + 30);
  EXPECT_TRUE(unreadable(Cloud::kGcp, 200, "maybe"));
  EXPECT_TRUE(unreadable(Cloud::kGcp, 500, "TRUE"));
  EXPECT_FALSE(first_request(Cloud::kGcp).has_value());
}

constexpr const char* kAzureEvents = R"({"DocumentIncarnation":3,"Events":[
  {"EventId":"1","EventStatus":"Scheduled","EventType":"Freeze","Resources":["here"],
   "NotBefore":"Tue, 14 Nov 2023 22:13:25 GMT"},
  {"EventId":"2","EventStatus":"Scheduled","EventType":"Preempt","Resources":["there"],
   "NotBefore":"Tue, 14 Nov 2023 22:13:30 GMT"},
  {"EventId":"3","EventStatus":"Scheduled","EventType":"Preempt","Resources":["here"],
   "NotBefore":"Tue, 14 Nov 2023 22:14:20 GMT"},
  {"EventId":"4","EventStatus":"Completed","EventType":"Terminate","Resources":["here"],
   "NotBefore":"Tue, 14 Nov 2023 22:13:21 GMT"}]})";

TEST(SpotMetadata, Azure) {
  EXPECT_FALSE(notice(Cloud::kAzure, 200, R"({"DocumentIncarnation":1,"Events":[]})").has_value());
  const auto given = notice(Cloud::kAzure, 200, kAzureEvents, "here");
  ASSERT_TRUE(given.has_value());
  EXPECT_DOUBLE_EQ(given->ends_unix, kNow + 60);
  EXPECT_TRUE(given->reason.contains("Preempt"));
  const auto begun =
      notice(Cloud::kAzure, 200,
             R"({"Events":[{"EventStatus":"Started","EventType":"Preempt","Resources":["here"],
          "NotBefore":""}]})",
             "here");
  EXPECT_DOUBLE_EQ(begun->ends_unix, kNow + 30);
  EXPECT_TRUE(unreadable(Cloud::kAzure, 200, "{}"));
  EXPECT_TRUE(unreadable(Cloud::kAzure, 200, "[]"));
}

TEST(SpotMetadata, Dates) {
  EXPECT_DOUBLE_EQ(*parse_http_date("Tue, 14 Nov 2023 22:13:20 GMT"), kNow);
  for (const char* bad : {"", "Tue, 14 Nov 2023 22:13:20", "Tue, 14 Nox 2023 22:13:20 GMT",
                          "Tue, 99 Nov 2023 22:13:20 GMT", "Tue, 14 Nov 2023 25:13:20 GMT"}) {
    EXPECT_FALSE(parse_http_date(bad).has_value()) << bad;
  }
}

TEST(SpotMetadata, Files) {
  EXPECT_DOUBLE_EQ(read_notice_file("\n", kNow)->ends_unix, kNow + 30);
  EXPECT_DOUBLE_EQ(read_notice_file("45s\n", kNow)->ends_unix, kNow + 45);
  EXPECT_DOUBLE_EQ(read_notice_file("2023-11-14T22:13:30Z", kNow)->ends_unix, kNow + 10);
  EXPECT_FALSE(read_notice_file("soon", kNow).has_value());
}

// A metadata service that gives a notice from its `quiet`-th question on.
class Metadata : public net::HttpHandler {
 public:
  explicit Metadata(Cloud cloud) : cloud_(cloud) {}

  void handle(net::HttpRequest request, std::shared_ptr<net::Responder> responder) override {
    responder->send(answer(request));
  }

  std::atomic<int> quiet = 1;
  std::atomic<int> tokens = 0;

 private:
  net::HttpResponse answer(const net::HttpRequest& request) {
    if (cloud_ == Cloud::kAws && request.path == "/latest/api/token") {
      const bool good = request.method == "PUT" &&
                        request.header("x-aws-ec2-metadata-token-ttl-seconds") == "21600";
      return {.status = good ? 200 : 400, .body = fmt::format("token-{}", ++tokens)};
    }
    if (cloud_ == Cloud::kAzure && request.path == "/metadata/instance/compute/name") {
      return {.status = request.header("metadata") == "true" ? 200 : 400, .body = "here"};
    }
    const bool allowed = cloud_ == Cloud::kAws ? request.header("x-aws-ec2-metadata-token") ==
                                                     fmt::format("token-{}", tokens.load())
                         : cloud_ == Cloud::kGcp ? request.header("metadata-flavor") == "Google"
                                                 : request.header("metadata") == "true";
    if (!allowed) return {.status = 401, .body = ""};
    // The first token is no longer taken after one question.
    if (cloud_ == Cloud::kAws && tokens == 1 && quiet == 0) {
      ++tokens;
      return {.status = 401, .body = ""};
    }
    if (quiet > 0) {
      --quiet;
      return cloud_ == Cloud::kAws   ? net::HttpResponse{.status = 404, .body = "none"}
             : cloud_ == Cloud::kGcp ? net::HttpResponse{.status = 200, .body = "FALSE"}
                                     : net::HttpResponse{.status = 200, .body = R"({"Events":[]})"};
    }
    return {.status = 200,
            .body = cloud_ == Cloud::kAws   ? R"({"action":"terminate"})"
                    : cloud_ == Cloud::kGcp ? "TRUE"
                                            : kAzureEvents};
  }

  const Cloud cloud_;
};

class Heard {
 public:
  SpotWatcher::OnNotice listener() {
    return [this](const SpotNotice& notice) {
      const std::lock_guard lock(mutex_);
      notice_ = notice;
      told_.notify_all();
    };
  }
  std::optional<SpotNotice> wait() {
    std::unique_lock lock(mutex_);
    told_.wait_for(lock, std::chrono::seconds(20), [this] { return notice_.has_value(); });
    return notice_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::optional<SpotNotice> notice_;
};

TEST(SpotWatcher, EveryCloudIsHeard) {
  for (const Cloud cloud : {Cloud::kAws, Cloud::kGcp, Cloud::kAzure}) {
    const auto service = std::make_shared<Metadata>(cloud);
    auto server = net::HttpServer::start({}, service);
    ASSERT_TRUE(server.has_value());
    Heard heard;
    const SpotWatcher watcher({.cloud = cloud,
                               .url = fmt::format("http://127.0.0.1:{}", (*server)->port()),
                               .file = {},
                               .look = std::chrono::milliseconds(5)},
                              heard.listener());
    const auto notice = heard.wait();
    ASSERT_TRUE(notice.has_value()) << cloud_name(cloud);
    EXPECT_FALSE(notice->reason.empty());
    if (cloud == Cloud::kAws) EXPECT_GE(service->tokens, 2) << "a new token was not asked for";
  }
}

TEST(SpotWatcher, AFileAndACall) {
  const auto file = std::filesystem::temp_directory_path() / "sluice-spot-test";
  std::filesystem::remove(file);
  Heard by_file;
  const SpotWatcher one(
      {.cloud = {}, .url = {}, .file = file, .look = std::chrono::milliseconds(5)},
      by_file.listener());
  ASSERT_TRUE(write_file_atomically(file, "5s"));
  ASSERT_TRUE(by_file.wait().has_value());
  std::filesystem::remove(file);
  Heard by_call;
  SpotWatcher other({}, by_call.listener());
  other.give({"an operator said so", 7});
  EXPECT_DOUBLE_EQ(by_call.wait()->ends_unix, 7);
}

TEST(SpotWatcher, NobodyThereIsNoNotice) {
  Heard heard;
  auto watcher = std::make_unique<SpotWatcher>(SpotOptions{.cloud = Cloud::kGcp,
                                                           .url = "http://127.0.0.1:1",
                                                           .file = {},
                                                           .look = std::chrono::milliseconds(1)},
                                               heard.listener());
  watcher->give({"later", 1});
  EXPECT_EQ(heard.wait()->reason, "later");
  watcher.reset();
}

}  // namespace
}  // namespace sluice::cli
