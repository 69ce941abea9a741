// SpanExporter: keeps spans until there are enough of them, or for a while, and hands them to a
// sender as OTLP. It opens no connection of its own.
//
// The queue is bounded: a span that finds it full is dropped and counted, and no request ever
// waits. What the receiver cannot take now (429, 502 to 504, no answer) is sent again after waits
// that double; anything else it refuses is counted as failed.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "telemetry/metrics.h"
#include "telemetry/tracer.h"

namespace sluice::telemetry {

// What became of one request of the sender's.
struct ExportReply {
  int status = 0;       // of HTTP; 0: no answer
  std::string error{};  // in words
  std::optional<Duration> retry_after{};
};

// Sends one OTLP request; waits for its answer, within its own timeout.
using SpanSender = std::function<ExportReply(const std::string& body)>;

struct ExporterOptions {
  std::vector<Attribute> resource;
  size_t max_queue = 2048;
  size_t batch = 512;
  Duration delay = std::chrono::seconds(5);  // a span waits no longer for others
  int attempts = 5;
  Duration backoff = std::chrono::seconds(1);
  Duration max_backoff = std::chrono::seconds(30);
};

class SpanExporter final : public SpanSink {
 public:
  SpanExporter(ExporterOptions options, SpanSender sender, Metrics& metrics);
  // Sends what is left, once.
  ~SpanExporter() override;

  void add(Span span) override;

 private:
  void run(const std::stop_token& stop);
  std::vector<Span> next(const std::stop_token& stop);
  void send(const std::vector<Span>& spans, const std::stop_token& stop);
  bool pause(Duration wait, const std::stop_token& stop);

  const ExporterOptions options_;
  const SpanSender sender_;
  Counter& sent_;
  Counter& dropped_;
  Counter& failed_;
  std::string last_error_;  // the thread's

  std::mutex mutex_;  // guards queue_
  std::condition_variable_any wake_;
  std::vector<Span> queue_;
  std::jthread thread_;
};

}  // namespace sluice::telemetry
