#include "control/replica_logs.h"

#include <gtest/gtest.h>

#include <atomic>
#include <string>

#include "control/resource_types.h"

namespace sluice::control {
namespace {

TEST(ReplicaLogs, WhatIsNewBehindWhatWasSeen) {
  EXPECT_EQ(behind("", "one\n"), "one\n");
  EXPECT_EQ(behind("one\n", "one\n"), "");
  EXPECT_EQ(behind("one\n", "one\ntwo\n"), "two\n");
  // The beginning has left the window.
  EXPECT_EQ(behind("one\ntwo\n", "two\nthree\n"), "three\n");
  EXPECT_EQ(behind("one\ntwo\n", "three\nfour\n"), "three\nfour\n");
  EXPECT_EQ(behind("aaaa", "aaaaa"), "a");
  EXPECT_EQ(behind("one\ntwo\n", ""), "");
}

TEST(ReplicaLogs, LastLines) {
  EXPECT_EQ(last_lines("a\nb\nc\n", 2), "b\nc\n");
  EXPECT_EQ(last_lines("a\nb\nc", 1), "c");
  EXPECT_EQ(last_lines("a\nb\n", 9), "a\nb\n");
  EXPECT_EQ(last_lines("a\nb\n", 0), "");
  EXPECT_EQ(last_lines("", 3), "");
  EXPECT_EQ(last_lines("\n\n", 1), "\n");
}

class Answer : public net::Responder {
 public:
  void send(net::HttpResponse response) override {
    const std::lock_guard lock(mutex_);
    text_ += response.body;
    ended_ = true;
    told_.notify_all();
  }
  void start(int, net::Headers) override {}
  bool write(std::string_view bytes) override {
    const std::lock_guard lock(mutex_);
    text_ += bytes;
    told_.notify_all();
    return true;
  }
  void finish() override {
    const std::lock_guard lock(mutex_);
    ended_ = true;
    told_.notify_all();
  }
  void on_close(std::function<void()>) override {}
  bool closed() const override { return closed_; }

  bool wait_for(const std::string& text) {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, std::chrono::seconds(20), [&] { return text_ == text; });
  }
  bool wait_for_end() {
    std::unique_lock lock(mutex_);
    return told_.wait_for(lock, std::chrono::seconds(20), [&] { return ended_; });
  }
  std::atomic<bool> closed_ = false;

 private:
  std::mutex mutex_;
  std::condition_variable told_;
  std::string text_;
  bool ended_ = false;
};

class Followed : public testing::Test {
 protected:
  Followed() {
    logs_.set_source([this](const ObjectKey& key, size_t max_bytes) -> Result<std::string> {
      const std::lock_guard lock(mutex_);
      if (key.name != "r" || gone_) return fail(Code::kNotFound, "no such replica");
      return text_.substr(text_.size() - std::min(text_.size(), max_bytes));
    });
  }
  void set(std::string text, bool gone = false) {
    const std::lock_guard lock(mutex_);
    text_ = std::move(text);
    gone_ = gone;
  }

  const ObjectKey key_{find_kind("v1", "ConfigMap"), "default", "r"};
  std::mutex mutex_;
  std::string text_;
  bool gone_ = false;
  ReplicaLogs logs_;
};

TEST_F(Followed, OnceAndFollowed) {
  set("one\ntwo\n");
  const auto once = std::make_shared<Answer>();
  ASSERT_TRUE(logs_.answer(key_, Query("tailLines=1"), once));
  EXPECT_TRUE(once->wait_for("two\n"));
  const auto followed = std::make_shared<Answer>();
  ASSERT_TRUE(logs_.answer(key_, Query("follow=true&tailLines=1"), followed));
  set("one\ntwo\nthree\n");
  EXPECT_TRUE(followed->wait_for("two\nthree\n"));
  set("", true);
  EXPECT_TRUE(followed->wait_for_end());
}

TEST_F(Followed, EndsWithTheServer) {
  const auto answer = std::make_shared<Answer>();
  ASSERT_TRUE(logs_.answer(key_, Query("follow=true"), answer));
  logs_.end();
  EXPECT_TRUE(answer->wait_for_end());
  EXPECT_EQ(logs_.answer(key_, Query("follow=true"), answer).error().code, 429);
}

TEST_F(Followed, WhatIsNotThereIsSaid) {
  const auto answer = std::make_shared<Answer>();
  const ObjectKey other{key_.type, "default", "other"};
  EXPECT_EQ(logs_.answer(other, Query(""), answer).error().code, 404);
  EXPECT_EQ(logs_.answer(key_, Query("tailLines=many"), answer).error().code, 400);
  logs_.set_source({});
  EXPECT_EQ(logs_.answer(key_, Query(""), answer).error().code, 503);
}

}  // namespace
}  // namespace sluice::control
