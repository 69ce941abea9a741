// What a request to a Sluice replica brings along from the door to the backend, and how its answer
// is put on record on the way back.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/prefix_hash.h"
#include "completion/backend.h"
#include "gateway/admission.h"
#include "gateway/load_meter.h"
#include "gateway/record.h"
#include "gateway/relay.h"
#include "gateway/request_spans.h"
#include "gateway/snapshot.h"
#include "gateway/unbroken_answer.h"
#include "net/http.h"
#include "net/server.h"

namespace sluice::gateway {

// The record is written by the responder's thread and by the run's: under the mutex.
struct UnbrokenOrigin {
  std::shared_ptr<const Snapshot> snapshot;  // keeps the route and the caller
  std::shared_ptr<const Snapshot> known_by;  // keeps the caller of a request that asked anew
  Route* route = nullptr;
  Caller caller;
  std::string sticky_key;
  std::vector<PrefixHash> prefix;
  net::Headers headers;
  std::string traceparent;  // sent on where attempts have no spans
  std::string upstream;     // where it must go, because that holds requests; empty: anywhere
  TimePoint hold_until{};   // it may wait for a server there

  mutable std::mutex mutex;
  mutable net::Headers limit_headers;  // x-ratelimit-…, Retry-After: for the answer
  mutable RequestRecord record;
  mutable bool failed = false;  // the answer ended with an error
  mutable Admission::Permit permit;
  mutable Admission::Permit hold;  // its place at the upstream that holds requests
  mutable LoadVisit visit;
  mutable std::map<int, std::unique_ptr<AttemptSpan>> attempts;  // under way; none: not traced

  // The error that the client is told.
  void note_error(const Status& status) const;
  void note_usage(const completion::Usage& usage) const;
  void note_first_token(TimePoint now) const;
  // An attempt begins; gives the traceparent that goes along.
  std::string note_attempt(const telemetry::Tracer* tracer, int attempt, AttemptReason reason,
                           const ReplicaInfo& replica, TimePoint now) const;
  void note_closed(const UnbrokenAnswer::Closed& closed) const;
  // It is over, its record complete. The places are given back last and without the lock: they may
  // go to the next in the queue at once.
  RequestRecord end(Ending ending, std::optional<int> status, TimePoint now) const;
};

const UnbrokenOrigin* origin_of(const completion::Request& request);

// Notes how an answer ended, and passes it on.
class RecordingSink final : public completion::ResponseSink {
 public:
  RecordingSink(std::shared_ptr<completion::ResponseSink> inner,
                std::shared_ptr<const UnbrokenOrigin> origin, const Clock& clock)
      : inner_(std::move(inner)), origin_(std::move(origin)), clock_(clock) {}

  void on_start(completion::PromptInfo info) override { inner_->on_start(std::move(info)); }
  void on_prompt_logprobs(int prompt, std::vector<completion::LogprobEntry> entries) override {
    inner_->on_prompt_logprobs(prompt, std::move(entries));
  }
  void on_delta(completion::Delta delta) override {
    if (!std::exchange(told_, true)) origin_->note_first_token(clock_.now());
    inner_->on_delta(std::move(delta));
  }
  void on_done(const completion::Usage& usage) override {
    origin_->note_usage(usage);
    inner_->on_done(usage);
  }
  void on_error(const Status& status) override {
    origin_->note_error(status);
    inner_->on_error(status);
  }

 private:
  const std::shared_ptr<completion::ResponseSink> inner_;
  const std::shared_ptr<const UnbrokenOrigin> origin_;
  const Clock& clock_;
  bool told_ = false;
};

// Passes an answer on and keeps the record of it; the place in the queue is held until its end.
class RecordingResponder final : public net::Responder {
 public:
  RecordingResponder(std::shared_ptr<net::Responder> inner, RelayHost& host,
                     std::shared_ptr<const UnbrokenOrigin> origin)
      : inner_(std::move(inner)), host_(host), origin_(std::move(origin)) {}
  ~RecordingResponder() override { over(inner_->closed() ? Ending::kClientGone : Ending::kCut); }

  void send(net::HttpResponse response) override;
  void start(int status, net::Headers headers) override;
  bool write(std::string_view bytes) override;
  void finish() override;
  void on_close(std::function<void()> callback) override { inner_->on_close(std::move(callback)); }
  bool closed() const override { return inner_->closed(); }

 private:
  // `failed`: how it ended if it ended with an error.
  Ending ending_now(Ending failed) const;
  void add_own(net::Headers& headers);
  void note(int status, size_t bytes);
  void over(Ending ending);

  const std::shared_ptr<net::Responder> inner_;
  RelayHost& host_;
  const std::shared_ptr<const UnbrokenOrigin> origin_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> over_{false};
};

}  // namespace sluice::gateway
