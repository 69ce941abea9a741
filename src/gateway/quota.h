// Quota: whether a tenant's request may begin, and what it cost when it is over.
//
// A request of a tenant reserves its prompt's tokens and as many more as it may generate; tokens
// that it did not use come back when it ends (ledger.h). Requests of nobody, on public routes, are
// not counted.
#pragma once

#include <atomic>
#include <condition_variable>
#include <expected>
#include <filesystem>
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
#include "gateway/snapshot.h"
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
  // `path` as in Ledger::open.
  static Result<std::unique_ptr<Quota>> open(const std::filesystem::path& path,
                                             GatewayMetrics& metrics,
                                             const Clock& clock = system_clock());
  ~Quota();
  Quota(const Quota&) = delete;
  Quota& operator=(const Quota&) = delete;

  // A reservation. Settles itself in full if nobody else settles it.
  class Grant {
   public:
    Grant(Quota& quota, ReservationId id, TokenUse most) : quota_(quota), id_(id), most_(most) {}
    ~Grant() { settle(most_, {}); }
    Grant(const Grant&) = delete;
    Grant& operator=(const Grant&) = delete;

    // Once; later calls change nothing.
    void settle(const TokenUse& used, std::string_view version);
    const TokenUse& most() const { return most_; }

   private:
    Quota& quota_;
    const ReservationId id_;
    const TokenUse most_;
    std::atomic<bool> settled_{false};
  };

  struct Refused {
    Status status;
    net::Headers headers;  // Retry-After where trying again helps, x-ratelimit-…
  };

  // Whether the caller or its tenant has a limit that tokens count in.
  static bool counts_tokens(const Caller& caller);

  // Null for a caller without a tenant.
  std::expected<std::shared_ptr<Grant>, Refused> reserve(const Caller& caller,
                                                         const plan::Route& route,
                                                         std::string_view model,
                                                         const TokenUse& most);

  // x-ratelimit-limit-requests, -remaining-requests, -reset-requests, and the same of tokens, where
  // the caller has limits of a minute.
  net::Headers headers(const Caller& caller);

  // {"usage":[{"date","tenant","key","route","model","version","requests",…}]} of the UTC days
  // `from` to `to`, "2026-01-31", both included; an empty one means today.
  Result<std::string> report(std::string_view from, std::string_view to);

 private:
  Quota(std::unique_ptr<Ledger> ledger, GatewayMetrics& metrics, const Clock& clock);
  void keep_house(const std::stop_token& stop);
  void note_settled();

  const std::unique_ptr<Ledger> ledger_;
  GatewayMetrics& metrics_;
  const Clock& clock_;
  std::mutex mutex_;
  std::condition_variable_any wake_;
  std::atomic<bool> settled_{false};  // something is to be written
  std::jthread house_;
};

}  // namespace sluice::gateway
