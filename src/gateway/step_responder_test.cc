#include "gateway/step_responder.h"

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace sluice::gateway {
namespace {

// What a client got.
class Client final : public net::Responder {
 public:
  void send(net::HttpResponse) override { got += "send "; }
  void start(int, net::Headers) override { got += "start "; }
  bool write(std::string_view bytes) override {
    got += bytes;
    got += ' ';
    return true;
  }
  void finish() override { got += "finish"; }
  void finish_with_error() override { got += "error"; }
  void on_close(std::function<void()>) override {}
  bool closed() const override { return false; }

  std::string got;
};

class StepResponderTest : public ::testing::Test {
 protected:
  std::shared_ptr<StepResponder> make(bool to_client) {
    return std::make_shared<StepResponder>(
        *loop_, to_client ? client_ : nullptr, "id",
        StepResponder::Callbacks{.on_passed = [this] { ++passed_; },
                                 .on_answer =
                                     [this](Result<net::HttpResponse> answer) {
                                       EXPECT_FALSE(answer_) << "it is told once";
                                       answer_ = std::move(answer);
                                     }});
  }
  // What was posted is told.
  void turn() {
    loop_->stop();
    loop_->run();
  }

  std::shared_ptr<net::EventLoop> loop_ = *net::EventLoop::create();
  std::shared_ptr<Client> client_ = std::make_shared<Client>();
  int passed_ = 0;
  std::optional<Result<net::HttpResponse>> answer_;
};

TEST_F(StepResponderTest, TimeDoesNotEndWhatHasBegun) {
  const auto step = make(true);
  step->start(200, {});
  EXPECT_FALSE(step->leave_unless_passed()) << "before on_passed is told";
  EXPECT_TRUE(step->write("one"));
  step->finish();
  EXPECT_EQ(client_->got, "start one finish");
  EXPECT_EQ(step->sent(), 3u);
  turn();
  EXPECT_EQ(passed_, 1);
  ASSERT_TRUE(answer_);
  EXPECT_EQ((**answer_).status, 200);
}

TEST_F(StepResponderTest, WhatWasLeftBeforeItBeganNeverBegins) {
  const auto step = make(true);
  int gone = 0;
  step->on_close([&] { ++gone; });
  EXPECT_TRUE(step->leave_unless_passed());
  EXPECT_EQ(gone, 1);
  step->start(200, {});
  EXPECT_FALSE(step->write("one"));
  step->finish_with_error();
  turn();
  EXPECT_EQ(client_->got, "");
  EXPECT_EQ(passed_, 0);
  EXPECT_FALSE(answer_);
}

TEST_F(StepResponderTest, AStreamThatEndsWithAnErrorIsNoAnswer) {
  for (const bool to_client : {true, false}) {
    answer_.reset();
    auto step = make(to_client);
    step->start(200, {});
    step->write("one");
    step->finish_with_error();
    step.reset();
    turn();
    ASSERT_TRUE(answer_);
    EXPECT_FALSE(*answer_);
    EXPECT_EQ(client_->got, "start one error");
    loop_ = *net::EventLoop::create();
  }
}

}  // namespace
}  // namespace sluice::gateway
