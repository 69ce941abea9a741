#include "telemetry/span_exporter.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/log.h"
#include "telemetry/otlp.h"

namespace sluice::telemetry {
namespace {

Counter& counter(Metrics& metrics, const char* result) {
  return metrics.counter(View::kNative, "sluice_trace_spans_total",
                         "Spans for the receiver of traces, by what became of them.",
                         {{"result", result}});
}

bool may_repeat(int status) {
  return status == 0 || status == 429 || (status >= 502 && status <= 504);
}

}  // namespace

SpanExporter::SpanExporter(ExporterOptions options, SpanSender sender, Metrics& metrics)
    : options_(std::move(options)),
      sender_(std::move(sender)),
      sent_(counter(metrics, "sent")),
      dropped_(counter(metrics, "dropped")),
      failed_(counter(metrics, "failed")),
      thread_([this](const std::stop_token& stop) { run(stop); }) {}

SpanExporter::~SpanExporter() {
  thread_.request_stop();
  thread_.join();
}

void SpanExporter::add(Span span) {
  bool enough = false;
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= options_.max_queue) {
      dropped_.Increment();
      return;
    }
    queue_.push_back(std::move(span));
    enough = queue_.size() == 1 || queue_.size() == options_.batch;
  }
  if (enough) wake_.notify_one();
}

std::vector<Span> SpanExporter::next(const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  wake_.wait(lock, stop, [this] { return !queue_.empty(); });
  wake_.wait_for(lock, stop, options_.delay, [this] { return queue_.size() >= options_.batch; });
  const auto count = static_cast<ptrdiff_t>(std::min(queue_.size(), options_.batch));
  std::vector<Span> taken(std::make_move_iterator(queue_.begin()),
                          std::make_move_iterator(queue_.begin() + count));
  queue_.erase(queue_.begin(), queue_.begin() + count);
  return taken;
}

void SpanExporter::run(const std::stop_token& stop) {
  while (true) {
    const std::vector<Span> spans = next(stop);
    if (spans.empty() && stop.stop_requested()) return;
    if (!spans.empty()) send(spans, stop);
  }
}

// False when the process ends first.
bool SpanExporter::pause(Duration wait, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  wake_.wait_for(lock, stop, wait, [] { return false; });
  return !stop.stop_requested();
}

void SpanExporter::send(const std::vector<Span>& spans, const std::stop_token& stop) {
  const std::string body = encode_spans(options_.resource, spans);
  Duration wait = options_.backoff;
  for (int attempt = 1;; ++attempt) {
    const ExportReply reply = sender_(body);
    if (reply.status >= 200 && reply.status < 300) {
      sent_.Increment(static_cast<double>(spans.size()));
      last_error_.clear();
      return;
    }
    const std::string error =
        reply.status == 0 ? reply.error : "it answered " + std::to_string(reply.status);
    if (error != last_error_) log_warn("the receiver of traces: {}", error);
    last_error_ = error;
    if (!may_repeat(reply.status) || attempt >= options_.attempts) break;
    if (!pause(std::min(reply.retry_after.value_or(wait), options_.max_backoff), stop)) break;
    wait = std::min(wait * 2, options_.max_backoff);
  }
  failed_.Increment(static_cast<double>(spans.size()));
}

}  // namespace sluice::telemetry
