// Relay: one request passed on to a server of any make, and its answer passed back as it comes.
//
// Until the first byte of an answer has gone to the client the request may be tried again: at
// another replica, after a while, at a fallback, or at two replicas at once (hedging); after it
// the answer ends well, or is cut with an error that the client can see. Everything happens on the
// loop that the request came in on. A relay keeps itself alive until it is over.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/prefix_hash.h"
#include "base/worker_pool.h"
#include "gateway/access_log.h"
#include "gateway/admission.h"
#include "gateway/body_scan.h"
#include "gateway/event_counter.h"
#include "gateway/gateway_metrics.h"
#include "gateway/held_responder.h"
#include "gateway/hold_wait.h"
#include "gateway/load_meter.h"
#include "gateway/mirror.h"
#include "gateway/onward_call.h"
#include "gateway/quota.h"
#include "gateway/record.h"
#include "gateway/replica.h"
#include "gateway/request_spans.h"
#include "gateway/snapshot.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "net/server.h"
#include "plan/plan.h"

namespace sluice::gateway {

// What relays share; outlives them.
struct RelayHost {
  const Clock& clock;
  GatewayMetrics& metrics;
  WorkerPool& workers;
  // Called once for each request, at its end.
  std::function<void(RequestRecord& record)> on_over;
  const telemetry::Tracer* tracer = nullptr;  // null: nothing is traced
  // A request begins to wait for an upstream that has nobody; may be empty. Any thread.
  std::function<void(const std::string& upstream)> on_held = {};
  std::atomic<bool> tells_load = false;  // somebody is told how many tokens answers have

  void held(const std::string& upstream) const {
    if (on_held) on_held(upstream);
  }
};

// A request that was let in.
struct RelayRequest {
  net::HttpRequest http;
  std::shared_ptr<net::Responder> responder;
  std::shared_ptr<const Snapshot> snapshot;  // keeps the route and the caller
  std::shared_ptr<const Snapshot> known_by;  // keeps the caller of a request that asked anew
  Route* route = nullptr;
  Caller caller;
  BodyFields fields;
  std::string traceparent;  // sent on where attempts have no spans
  RequestRecord record;
  std::shared_ptr<Quota::Grant> grant;  // null: nobody pays
  net::Headers limit_headers;           // x-ratelimit-…, for the answer
  // Where its branch is known before it is passed on, because its upstream holds requests.
  Target* branch = nullptr;
  Admission::Permit hold;  // its place there
  TimePoint hold_until{};  // for so long it may wait for one
  LoadVisit visit;
  bool transformed = false;                // by its route
  bool batched = false;                    // joined with others, or not to be
  std::shared_ptr<HeldResponder> company;  // the responder, where comments may stand in the answer
};

class Relay : public std::enable_shared_from_this<Relay> {
 public:
  static void begin(RelayHost& host, net::EventLoop& loop, net::HttpClient& client,
                    RelayRequest request);
  ~Relay();

  // Use begin().
  Relay(RelayHost& host, net::EventLoop& loop, net::HttpClient& client, RelayRequest request);

 private:
  // One request sent to one replica.
  struct Attempt {
    explicit Attempt(ReplicaLease taken) : lease(std::move(taken)) {}
    std::optional<ReplicaLease> lease;
    Target* target = nullptr;
    net::ClientCall call;
    std::unique_ptr<AttemptSpan> span;  // null: not traced
    std::string error;                  // how it failed; empty: it did not
    TimePoint began{};
    int status = 0;
    net::Headers headers;
    std::string body;      // collected, when it is not passed on as it comes
    bool collects = true;  // see on_head
    bool first_byte = false;
    bool hedge = false;
    bool over = false;      // whatever it says is not heard
    bool reported = false;  // its lease knows how it ended
  };
  using AttemptPtr = std::shared_ptr<Attempt>;
  // Why nothing was answered yet.
  struct Failure {
    plan::ErrorClass error = plan::ErrorClass::kConnect;
    int status = 0;  // of the upstream's answer; 0: there was none
    net::Headers headers = {};
    std::string body = {};
    std::string message = {};
  };

  const plan::Route& settings() const { return request_.route->settings(); }
  TimePoint now() const { return host_.clock.now(); }

  void ask_admission();
  void admitted(Admission::Permit permit);
  void choose_branch();
  void begin_branch();
  bool waits_for_message(const Target* target, void (Relay::*then)());
  void try_next();
  bool launch(bool hedge);
  std::string_view reason(bool hedge) const;
  Result<OnwardCall> onward(const Target& target, const ReplicaInfo& replica,
                            const std::string& traceparent) const;
  void mirror();

  void on_head(const AttemptPtr& attempt, int status, const net::Headers& headers);
  void on_data(const AttemptPtr& attempt, std::string_view bytes);
  void on_end(const AttemptPtr& attempt, const Outcome& outcome);
  void commit(const AttemptPtr& attempt);
  void answer_whole(const AttemptPtr& attempt);
  void stream_over(const Outcome& outcome);
  void cut(const Status& status, std::string_view why);
  bool sends_too_much(std::string_view bytes);
  void failed(const AttemptPtr& attempt, Failure failure, UseResult result);
  void decide();
  bool may_retry(Duration& wait);
  bool next_fallback();
  bool waits_for_server();
  void on_server(Result<Admission::Permit> place, Duration waited);
  void visit_branch();

  void on_wait_over();
  void on_hedge_time();
  void on_deadline();
  void on_client_gone();
  void give_up();
  void refuse(const Status& status);
  void drop(const AttemptPtr& attempt);
  static void end(Attempt& attempt);
  void arm_hedge();
  void settle();
  bool keeps_tail() const {
    return request_.grant || request_.record.span.sampled || host_.tells_load;
  }
  void over();

  RelayHost& host_;
  net::EventLoop& loop_;
  net::HttpClient& client_;
  RelayRequest request_;
  std::shared_ptr<Relay> self_;  // until it is over

  Admission::Permit permit_;
  uint64_t ticket_ = 0;
  bool asking_ = false;
  TimePoint asked_at_{};
  std::string sticky_;
  std::vector<PrefixHash> prefix_;

  // The chat as a message, where it was asked for; see OnwardCall.
  std::optional<Result<api::MessageRequest>> message_;
  Target* target_ = nullptr;
  size_t next_fallback_ = 0;
  int tries_ = 0;                      // at this target
  std::vector<std::string> excluded_;  // replicas tried at it
  std::vector<AttemptPtr> attempts_;   // under way
  AttemptPtr winner_;                  // whose bytes the client gets
  std::string tail_;                   // of what the client got, where somebody pays
  EventCounter events_;                // of what the client got, where tokens are limited
  bool ends_event_ = true;             // what the client got so far ends between two events
  std::optional<Failure> failure_;
  std::shared_ptr<HoldWait> hold_wait_;       // for a server, where its upstream holds requests
  TimePoint last_place_{};                    // when that gave one
  std::shared_ptr<MirrorComparison> mirror_;  // null: no copy was sent
  bool over_ = false;

  net::EventLoop::Timer deadline_;
  net::EventLoop::Timer wait_;  // in the queue, or before the next attempt
  net::EventLoop::Timer hedge_;
};

}  // namespace sluice::gateway
