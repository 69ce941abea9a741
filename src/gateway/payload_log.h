// PayloadLog: tells of requests and answers to the sinks that routes name, as CloudEvents over HTTP
// in binary mode, of the types and attributes that KServe's logger has:
//
//   ce-type   org.kubeflow.serving.inference.request | org.kubeflow.serving.inference.response
//   ce-id     the same of both: the request's own ce-id, else its id at the gateway
//   ce-status, ce-stream, ce-truncated, ce-cut   what KServe does not tell
//
// Beside the request: nothing waits for a sink, and no request fails of one. Events go out from a
// loop and a thread of their own, which begin with the first event, to services'
// addresses only. What waits is bounded, for each sink and together; an event that does not fit is
// dropped and counted. An event is sent once: one that its sink does not take is counted and gone.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "gateway/gateway_metrics.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/server.h"
#include "plan/plan.h"

namespace sluice::gateway {

struct PayloadEvent {
  std::string route;
  std::string url;
  net::Headers headers{};
  std::string body{};
  Duration timeout{};
};

// A text as an attribute's header carries it: percent-encoded where it is no visible ASCII.
std::string attribute_text(std::string_view text);

// Any thread. Recorders of answers under way may outlive the gateway.
class PayloadLog : public std::enable_shared_from_this<PayloadLog> {
 public:
  static constexpr size_t kMaxWaiting = 1024;          // events of one sink
  static constexpr size_t kMaxSinkBytes = 32u << 20;   // waiting for one sink
  static constexpr size_t kMaxHeldBytes = 128u << 20;  // waiting and being recorded, together
  static constexpr int kMaxUnderWay = 4;               // to one sink at a time

  PayloadLog(GatewayMetrics& metrics, const Clock& clock) : metrics_(metrics), clock_(clock) {}
  ~PayloadLog();

  // Tells of the request, and returns the responder by which its answer is told of: `responder`
  // itself where answers are not logged. Requests without a body are no predictions.
  std::shared_ptr<net::Responder> watch(const plan::PayloadLogPlan& plan, const std::string& route,
                                        const net::HttpRequest& request, const std::string& id,
                                        std::shared_ptr<net::Responder> responder);

  // Takes an event, or drops it.
  void offer(PayloadEvent event);
  // Waits until all is sent, but no longer than `patience`.
  void flush(Duration patience);
  // Nothing is sent behind this; what is offered is dropped. Not on the log's own thread.
  void stop();

  // Of what is being recorded: false when there is no room.
  bool take_room(size_t bytes);
  void give_room(size_t bytes) { held_ -= bytes; }
  void dropped(const std::string& route);

 private:
  struct Sink {
    std::deque<PayloadEvent> waiting;
    size_t bytes = 0;
    int under_way = 0;
  };

  bool begin();  // under the mutex
  void send_next(const std::string& url);
  void send(const std::shared_ptr<PayloadEvent>& event, bool may_repeat);
  void ended(const PayloadEvent& event, bool taken);

  GatewayMetrics& metrics_;
  const Clock& clock_;
  std::atomic<size_t> held_ = 0;

  std::mutex mutex_;  // guards what follows
  std::condition_variable all_sent_;
  std::map<std::string, Sink> sinks_;  // those that have something to send, by url
  bool stopped_ = false;
  std::shared_ptr<net::EventLoop> loop_;  // null before the first event
  std::unique_ptr<net::HttpClient> client_;
  std::jthread thread_;
};

}  // namespace sluice::gateway
