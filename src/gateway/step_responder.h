// StepResponder: takes the answer of a request that the gateway makes of itself, for a step of a
// graph or behind a transformer. An answer is gathered whole, or, where it is the last word, passed
// on to the client as it comes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "base/status.h"
#include "net/event_loop.h"
#include "net/server.h"

namespace sluice::gateway {

// Any thread; what it tells is told on the loop's.
class StepResponder final : public net::Responder {
 public:
  static constexpr size_t kMaxAnswerBytes = 16u << 20;

  struct Callbacks {
    // It goes to the client from here on: nobody else can answer.
    std::function<void()> on_passed;
    // Once: the whole answer (of one that was passed on, without its body), or why there is none,
    // or not all of it.
    std::function<void(Result<net::HttpResponse> answer)> on_answer;
  };

  // `client`: where streams go that are good; null: nowhere. The loop outlives this.
  StepResponder(net::EventLoop& loop, std::shared_ptr<net::Responder> client, std::string id,
                Callbacks callbacks);
  ~StepResponder() override;

  // Nobody wants the answer: to who gives it the client has left. True: a part of it is with the
  // client already.
  bool leave();
  // As leave(), but not where a part of it is with the client already: false, and it goes on.
  bool leave_unless_passed();
  // Bytes of it that went to the client.
  uint64_t sent() const { return sent_; }

  void send(net::HttpResponse response) override;
  void start(int status, net::Headers headers) override;
  bool write(std::string_view bytes) override;
  void finish() override;
  void finish_with_error() override;
  void on_close(std::function<void()> callback) override;
  bool closed() const override;

 private:
  bool close(bool passed_too);
  void tell(Result<net::HttpResponse> answer);

  net::EventLoop& loop_;
  const std::shared_ptr<net::Responder> client_;
  const std::string id_;
  std::atomic<uint64_t> sent_ = 0;

  mutable std::mutex mutex_;  // guards what follows
  Callbacks callbacks_;
  std::function<void()> on_close_;
  net::HttpResponse answer_;
  bool started_ = false;
  bool passes_ = false;
  bool too_large_ = false;
  bool closed_ = false;
  bool told_ = false;
};

}  // namespace sluice::gateway
