#include "gateway/quota.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <utility>

#include "base/json.h"
#include "base/log.h"

namespace sluice::gateway {
namespace {

// What a chat template may add: around the whole, and around each message.
constexpr int64_t kTemplateTokens = 256;
constexpr int64_t kMessageTokens = 32;
constexpr int64_t kMaxReportDays = 400;
constexpr std::chrono::seconds kHousekeeping{1};
constexpr std::chrono::milliseconds kGathering{10};

std::string seconds_text(Duration duration) { return fmt::format("{:.3f}s", to_seconds(duration)); }

void add_left(net::Headers& headers, std::string_view what,
              const std::optional<Budget::Left>& left) {
  if (!left) return;
  headers.emplace_back(fmt::format("x-ratelimit-limit-{}", what), std::to_string(left->limit));
  headers.emplace_back(fmt::format("x-ratelimit-remaining-{}", what), std::to_string(left->left));
  headers.emplace_back(fmt::format("x-ratelimit-reset-{}", what), seconds_text(left->reset));
}

net::Headers left_headers(const Ledger::MinuteLeft& left) {
  net::Headers headers;
  add_left(headers, "requests", left.requests);
  add_left(headers, "tokens", left.tokens);
  return headers;
}

SharedLimits::Payer payer_of(const Caller& caller) {
  const auto some = [](const plan::Limits& limits) -> std::optional<plan::Limits> {
    return limits == plan::Limits{} ? std::nullopt : std::optional(limits);
  };
  SharedLimits::Payer payer{.tenant = std::string(caller.tenant->name),
                            .key = std::string(caller.key_name()),
                            .tenant_limits = some(caller.tenant->limits)};
  if (caller.key != nullptr) payer.key_limits = some(caller.key->limits);
  return payer;
}

Status status_of(const Ledger::Denial& denial) {
  if (denial.failure) {
    return {Code::kUnavailable,
            "the usage of this request cannot be recorded now: try again",
            {},
            "usage_not_recorded"};
  }
  const Refusal& refusal = *denial.refusal;
  const bool money =
      refusal.limit == LimitKind::kMoneyPerDay || refusal.limit == LimitKind::kMoneyPerMonth;
  const double unit = money ? 1e6 : 1.0;
  const std::string advice =
      refusal.retry_after
          ? fmt::format("try again in {}", seconds_text(*refusal.retry_after))
          : "it would never fit: ask for fewer tokens (max_tokens, n) or send a shorter prompt";
  return {refusal.retry_after ? Code::kResourceExhausted : Code::kTooLarge,
          fmt::format("the {}'s limit {} is {}; {} are used or reserved and this request may take "
                      "{}: {}",
                      denial.subject, limit_name(refusal.limit),
                      static_cast<double>(refusal.allowed) / unit,
                      static_cast<double>(refusal.used) / unit,
                      static_cast<double>(refusal.asked) / unit, advice),
          {},
          std::string(limit_name(refusal.limit))};
}

std::string date_of(int64_t day) {
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(date.year()),
                     static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()));
}

Result<int64_t> day_of(std::string_view text, int64_t today, std::string_view name) {
  if (text.empty()) return today;
  const auto number = [&](size_t at, size_t count) {
    int value = -1;
    const char* end = text.data() + at + count;
    const auto [last, error] = std::from_chars(text.data() + at, end, value);
    return error == std::errc() && last == end ? value : -1;
  };
  if (text.size() == 10 && text[4] == '-' && text[7] == '-' && number(0, 4) >= 0 &&
      number(5, 2) >= 0 && number(8, 2) >= 0) {
    const std::chrono::year_month_day date{std::chrono::year(number(0, 4)),
                                           std::chrono::month(static_cast<unsigned>(number(5, 2))),
                                           std::chrono::day(static_cast<unsigned>(number(8, 2)))};
    if (date.ok()) return std::chrono::sys_days(date).time_since_epoch().count();
  }
  return invalid(fmt::format("{} must be a UTC day such as 2026-01-31", name), std::string(name));
}

}  // namespace

int64_t prompt_bound(std::string_view body) {
  const auto messages = std::ranges::count(body, '{');
  return std::ssize(body) + kTemplateTokens + kMessageTokens * messages;
}

int64_t prompt_count(std::string_view prompt_json) {
  const size_t first = prompt_json.find_first_not_of("[ \t\r\n");
  const bool lists =
      prompt_json.starts_with('[') && first != std::string_view::npos &&
      (prompt_json[first] == '"' || std::ranges::count(prompt_json.substr(0, first), '[') > 1);
  if (!lists) return 1;
  // Outside strings, at the outermost level.
  int64_t count = 1;
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0; at < prompt_json.size(); ++at) {
    const char c = prompt_json[at];
    if (in_string) {
      if (c == '\\') ++at;
      in_string = c != '"';
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[') {
      ++depth;
    } else if (c == ']') {
      --depth;
    } else if (c == ',' && depth == 1) {
      ++count;
    }
  }
  return count;
}

int64_t completion_bound(int64_t max_tokens, int64_t choices, int64_t prompts) {
  const __int128 product = static_cast<__int128>(max_tokens) * choices * prompts;
  return static_cast<int64_t>(std::min<__int128>(product, kMostTokens));
}

std::optional<TokenUse> find_usage(std::string_view text) {
  // Inside a string its quotes would be escaped: this is a key.
  constexpr std::string_view kKey = "\"usage\":";
  const size_t key = text.rfind(kKey);
  if (key == std::string_view::npos) return std::nullopt;
  const size_t begin = text.find_first_not_of(" \t", key + kKey.size());
  if (begin == std::string_view::npos || text[begin] != '{') return std::nullopt;
  int depth = 0;
  size_t end = begin;
  for (; end < text.size(); ++end) {
    if (text[end] == '{') ++depth;
    if (text[end] == '}' && --depth == 0) break;
  }
  if (end == text.size()) return std::nullopt;
  const auto value = parse_json(text.substr(begin, end + 1 - begin));
  if (!value || !value->is_object()) return std::nullopt;
  const json::object& usage = value->get_object();
  const auto count = [&](std::string_view openai, std::string_view anthropic) {
    for (const std::string_view name : {openai, anthropic}) {
      const auto* found = usage.if_contains(name);
      if (found != nullptr && found->is_int64()) return std::max<int64_t>(0, found->get_int64());
    }
    return int64_t{-1};
  };
  const TokenUse used{count("prompt_tokens", "input_tokens"),
                      count("completion_tokens", "output_tokens")};
  if (used.prompt < 0 || used.completion < 0) return std::nullopt;
  return used;
}

void keep_tail(std::string& tail, std::string_view bytes) {
  constexpr size_t kKept = 4096;
  if (bytes.size() >= kKept) {
    tail.assign(bytes.substr(bytes.size() - kKept));
    return;
  }
  tail.append(bytes);
  if (tail.size() > 2 * kKept) tail.erase(0, tail.size() - kKept);
}

void take_headers(net::Headers& to, net::Headers headers) {
  for (auto& [name, value] : headers) {
    std::erase_if(to,
                  [&](const auto& each) { return net::equals_ignoring_case(each.first, name); });
    to.emplace_back(std::move(name), std::move(value));
  }
}

bool Quota::counts_tokens(const Caller& caller) {
  const auto counts = [](const plan::Limits& limits) {
    return limits.tokens_per_minute != 0 || limits.tokens_per_day != 0 ||
           limits.micros_per_day != 0 || limits.micros_per_month != 0;
  };
  return caller.tenant != nullptr &&
         (counts(caller.tenant->limits) || (caller.key != nullptr && counts(caller.key->limits)));
}

Result<std::unique_ptr<Quota>> Quota::open(const plan::UsagePlan& usage,
                                           const plan::LimitsPlan& limits, GatewayMetrics& metrics,
                                           const Clock& clock) {
  SLUICE_ASSIGN_OR_RETURN(auto ledger, Ledger::open(usage.path, clock));
  std::unique_ptr<SharedLimits> shared;
  auto on_loss = plan::RedisPlan::OnLoss::kRefuse;
  if (limits.redis) {
    on_loss = limits.redis->on_loss;
    SLUICE_ASSIGN_OR_RETURN(shared, SharedLimits::open(*limits.redis, metrics.metrics()));
  }
  return std::unique_ptr<Quota>(
      new Quota(std::move(ledger), std::move(shared), on_loss, metrics, clock));
}

Quota::Quota(std::unique_ptr<Ledger> ledger, std::unique_ptr<SharedLimits> shared,
             plan::RedisPlan::OnLoss on_loss, GatewayMetrics& metrics, const Clock& clock)
    : ledger_(std::move(ledger)),
      shared_(std::move(shared)),
      on_loss_(on_loss),
      metrics_(metrics),
      clock_(clock),
      house_([this](const std::stop_token& stop) { keep_house(stop); }) {}

Quota::~Quota() = default;

void Quota::keep_house(const std::stop_token& stop) {
  using Steady = std::chrono::steady_clock;
  auto next = Steady::now() + kHousekeeping;
  while (!stop.stop_requested()) {
    {
      std::unique_lock lock(mutex_);
      wake_.wait_until(lock, stop, next, [this] { return settled_.load(); });
      // Requests that end close to each other are written together.
      if (settled_) wake_.wait_for(lock, stop, kGathering, [] { return false; });
    }
    Outcome done;
    if (Steady::now() >= next) {
      done = ledger_->housekeeping();
      next = Steady::now() + kHousekeeping;
    } else if (settled_.exchange(false)) {
      done = ledger_->write();
    }
    if (!done) log_warn("the usage database: {}", done.error().message());
  }
}

void Quota::note_settled() {
  if (settled_.exchange(true)) return;
  {
    const std::scoped_lock lock(mutex_);
  }  // so that the house is either awake or waits
  wake_.notify_one();
}

void Quota::Grant::settle(const TokenUse& used, std::string_view version) {
  if (settled_.exchange(true)) return;
  if (hold_) hold_->settle(amount_of(used, price_));
  if (charged_) quota_.shared_->charge(*charged_, amount_of(used, price_));
  quota_.ledger_->settle(id_, used, version);
  quota_.note_settled();
}

bool Quota::asks_shared(const Caller& caller) const {
  return shared_ && (caller.tenant->limits != plan::Limits{} ||
                     (caller.key != nullptr && caller.key->limits != plan::Limits{}));
}

Quota::Answer Quota::reserve(const Ask& ask) {
  if (ask.caller.tenant == nullptr) return nullptr;
  if (!asks_shared(ask.caller)) return reserve_here(ask, Limited::kYes);
  return conclude(
      ask, shared_->reserve_now(payer_of(ask.caller), amount_of(ask.most, ask.route->price)));
}

void Quota::reserve(const Ask& ask, const std::shared_ptr<net::EventLoop>& loop,
                    std::function<void(Answer)> done) {
  if (ask.caller.tenant == nullptr) return done(nullptr);
  if (!asks_shared(ask.caller)) return done(reserve_here(ask, Limited::kYes));
  shared_->reserve(payer_of(ask.caller), amount_of(ask.most, ask.route->price),
                   [this, ask, loop, done = std::move(done)](SharedLimits::Answer answer) {
                     loop->post([this, ask, done, answer = std::move(answer)]() mutable {
                       done(conclude(ask, std::move(answer)));
                     });
                   });
}

Quota::Answer Quota::reserve_here(const Ask& ask, Limited limited) {
  const Caller& caller = ask.caller;
  const bool yes = limited == Limited::kYes;
  const auto id =
      ledger_->reserve({.tenant = caller.tenant->name,
                        .key = caller.key_name(),
                        .route = ask.route->name,
                        .model = ask.model,
                        .tenant_limits = yes ? &caller.tenant->limits : nullptr,
                        .key_limits = yes && caller.key != nullptr ? &caller.key->limits : nullptr,
                        .price = ask.route->price,
                        .prompt_tokens = ask.most.prompt,
                        .most_completion_tokens = ask.most.completion});
  const Ledger::MinuteLeft left =
      yes ? ledger_->minute_left(caller.tenant->name, caller.key_name()) : Ledger::MinuteLeft{};
  if (!id) return std::unexpected(refused(ask, id.error(), left));
  auto grant = std::make_shared<Grant>(*this, *id, ask);
  grant->headers_ = left_headers(left);
  return grant;
}

Quota::Refused Quota::refused(const Ask& ask, const Ledger::Denial& denial,
                              const Ledger::MinuteLeft& left) {
  metrics_.limited(ask.caller.tenant->name,
                   denial.refusal ? limit_name(denial.refusal->limit) : "not_recorded");
  Refused out{status_of(denial), left_headers(left)};
  if (denial.refusal && denial.refusal->retry_after) {
    const double seconds = std::ceil(to_seconds(*denial.refusal->retry_after));
    out.headers.emplace_back("Retry-After", fmt::format("{:.0f}", std::max(1.0, seconds)));
  }
  return out;
}

// What Redis said of it, or what is to be done without Redis.
Quota::Answer Quota::conclude(const Ask& ask, SharedLimits::Answer answer) {
  using OnLoss = plan::RedisPlan::OnLoss;
  if (answer) {
    auto grant = reserve_here(ask, Limited::kNo);
    if (!grant) return grant;
    (*grant)->hold_ = std::move(answer->hold);
    (*grant)->headers_ = left_headers(answer->left);
    return grant;
  }
  const SharedLimits::Denied& denied = answer.error();
  if (denied.denial.refusal) {
    return std::unexpected(refused(ask, denied.denial, denied.left));
  }
  if (on_loss_ == OnLoss::kRefuse) {
    metrics_.limited(ask.caller.tenant->name, "redis_lost");
    return std::unexpected(Refused{{Code::kUnavailable,
                                    "the limits of this key cannot be asked now: try again",
                                    {},
                                    "limits_unavailable"},
                                   {{"Retry-After", "1"}}});
  }
  auto grant = reserve_here(ask, on_loss_ == OnLoss::kLocal ? Limited::kYes : Limited::kNo);
  if (grant) (*grant)->charged_ = payer_of(ask.caller);
  return grant;
}

Result<std::string> Quota::report(std::string_view from, std::string_view to) {
  const int64_t today = static_cast<int64_t>(clock_.unix_seconds()) / 86'400;
  SLUICE_ASSIGN_OR_RETURN(const int64_t first, day_of(from, today, "from"));
  SLUICE_ASSIGN_OR_RETURN(const int64_t last, day_of(to, today, "to"));
  if (last < first || last - first >= kMaxReportDays) {
    return invalid(fmt::format("from must not be after to, and at most {} days may be asked for",
                               kMaxReportDays),
                   "from");
  }
  SLUICE_ASSIGN_OR_RETURN(const auto rows, ledger_->usage(first, last));
  json::array usage;
  for (const UsageRow& row : rows) {
    usage.push_back(json::object{{"date", date_of(row.day)},
                                 {"tenant", row.tenant},
                                 {"key", row.key},
                                 {"route", row.route},
                                 {"model", row.model},
                                 {"version", row.version},
                                 {"requests", row.requests},
                                 {"unsettled_requests", row.unsettled},
                                 {"prompt_tokens", row.tokens.prompt},
                                 {"completion_tokens", row.tokens.completion},
                                 {"cost", static_cast<double>(row.micros) / 1e6}});
  }
  return to_json(json::object{{"usage", std::move(usage)}});
}

}  // namespace sluice::gateway
