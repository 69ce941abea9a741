// Quota: whether a tenant's request may begin, and what it cost when it is over.
//
// A request of a tenant reserves its prompt's tokens and as many more as it may generate; tokens
// that it did not use come back when it ends (ledger.h). Limits that gateways share are asked of
// Redis (shared_limits.h), and the ledger then only keeps what was used. Requests of nobody, on
// public routes, are not counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <expected>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>

#include "base/clock.h"
#include "base/status.h"
#include "gateway/gateway_metrics.h"
#include "gateway/ledger.h"
#include "gateway/shared_limits.h"
#include "gateway/snapshot.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "plan/plan.h"

namespace sluice::gateway {

// The most tokens that the prompts of a request can have of which only the JSON text is known: no
// token is less than a byte long, and a chat template adds a few to each message.
int64_t prompt_bound(std::string_view body);

// How many prompts the JSON text of "prompt" or "messages" holds: a list of texts or of lists of
// token ids holds one each.
int64_t prompt_count(std::string_view prompt_json);

// max_tokens × choices × prompts; no overflow.
int64_t completion_bound(int64_t max_tokens, int64_t choices, int64_t prompts);

// What an answer of a server of any make says it used: the last "usage" object in the text.
std::optional<TokenUse> find_usage(std::string_view text);

// Keeps the end of what comes in pieces: as much as find_usage() needs.
void keep_tail(std::string& tail, std::string_view bytes);

// Adds headers to an answer's, in place of those of the same name.
void take_headers(net::Headers& to, net::Headers headers);

// Any thread.
class Quota {
 public:
  // Who asks to use what. What it points to outlives the question.
  struct Ask {
    Caller caller;
    const plan::Route* route = nullptr;
    std::string_view model;
    TokenUse most;
  };

  // The ledger's path is as in Ledger::open.
  static Result<std::unique_ptr<Quota>> open(const plan::UsagePlan& usage,
                                             const plan::LimitsPlan& limits,
                                             GatewayMetrics& metrics,
                                             const Clock& clock = system_clock());
  ~Quota();
  Quota(const Quota&) = delete;
  Quota& operator=(const Quota&) = delete;

  // A reservation. Settles itself in full if nobody else settles it.
  class Grant {
   public:
    Grant(Quota& quota, ReservationId id, const Ask& ask)
        : quota_(quota), id_(id), most_(ask.most), price_(ask.route->price) {}
    ~Grant() { settle(most_, {}); }
    Grant(const Grant&) = delete;
    Grant& operator=(const Grant&) = delete;

    // Once; later calls change nothing.
    void settle(const TokenUse& used, std::string_view version);
    const TokenUse& most() const { return most_; }
    // For the answer, once: x-ratelimit-limit-requests, -remaining-requests, -reset-requests, and
    // the same of tokens, where the caller has limits of a minute.
    net::Headers take_headers() { return std::move(headers_); }

   private:
    friend class Quota;

    Quota& quota_;
    const ReservationId id_;
    const TokenUse most_;
    const plan::Price price_;
    net::Headers headers_;
    std::shared_ptr<SharedLimits::Hold> hold_;    // of limits that are shared
    std::optional<SharedLimits::Payer> charged_;  // to be told to them when they can be told again
    std::atomic<bool> settled_{false};
  };

  struct Refused {
    Status status;
    net::Headers headers;  // Retry-After where trying again helps, x-ratelimit-…
  };
  // Null for a caller without a tenant.
  using Answer = std::expected<std::shared_ptr<Grant>, Refused>;

  // Whether the caller or its tenant has a limit that tokens count in.
  static bool counts_tokens(const Caller& caller);

  // Waits where limits are shared (SharedLimits): not for a loop's thread.
  Answer reserve(const Ask& ask);
  // On the loop's thread, where `done` is called too: at once where no limits are shared.
  void reserve(const Ask& ask, const std::shared_ptr<net::EventLoop>& loop,
               std::function<void(Answer)> done);

  // {"usage":[{"date","tenant","key","route","model","version","requests",…}]} of the UTC days
  // `from` to `to`, "2026-01-31", both included; an empty one means today.
  Result<std::string> report(std::string_view from, std::string_view to);

 private:
  enum class Limited { kYes, kNo };

  Quota(std::unique_ptr<Ledger> ledger, std::unique_ptr<SharedLimits> shared,
        plan::RedisPlan::OnLoss on_loss, GatewayMetrics& metrics, const Clock& clock);
  bool asks_shared(const Caller& caller) const;
  Answer reserve_here(const Ask& ask, Limited limited);
  Answer conclude(const Ask& ask, SharedLimits::Answer answer);
  Refused refused(const Ask& ask, const Ledger::Denial& denial, const Ledger::MinuteLeft& left);
  void keep_house(const std::stop_token& stop);
  void note_settled();

  const std::unique_ptr<Ledger> ledger_;
  const std::unique_ptr<SharedLimits> shared_;  // null: limits are this process's own
  const plan::RedisPlan::OnLoss on_loss_;
  GatewayMetrics& metrics_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> settled_{false};  // something is to be written
  std::jthread house_;
};

}  // namespace sluice::gateway
