#include "gateway/shared_limits.h"

#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/log.h"
#include "gateway/shared_limits_scripts.h"
#include "net/event_loop.h"
#include "net/redis_client.h"
#include "net/tls.h"

namespace sluice::gateway {
namespace {

using net::RedisClient;
using net::RedisReply;
using std::chrono::milliseconds;

// Settlements that Redis has not taken; past it nothing is reserved, and no charge is kept.
constexpr size_t kMostUnsettled = 16384;

// As the scripts number them.
constexpr LimitKind kKinds[] = {LimitKind::kConcurrency,     LimitKind::kRequestsPerMinute,
                                LimitKind::kTokensPerMinute, LimitKind::kTokensPerDay,
                                LimitKind::kMoneyPerDay,     LimitKind::kMoneyPerMonth};

struct Subject {
  std::string name;  // as the scripts know it
  std::string_view told;
  plan::Limits limits;
};

std::vector<Subject> subjects_of(const SharedLimits::Payer& payer) {
  std::vector<Subject> out;
  if (payer.tenant_limits) out.push_back({"t", "tenant", *payer.tenant_limits});
  if (payer.key_limits) out.push_back({"k:" + payer.key, "key", *payer.key_limits});
  return out;
}

// A script and what names it once Redis knows it.
struct Script {
  explicit Script(std::string_view own)
      : text(std::string(kSharedLimitsLibrary) + std::string(own)) {}

  const std::string text;
  std::string digest;  // empty: not asked yet
};

class Counts {
 public:
  explicit Counts(telemetry::Metrics& metrics) : metrics_(metrics) {}

  void asked(std::string_view result) {
    metrics_
        .counter(telemetry::View::kNative, "sluice_gateway_shared_limits_total",
                 "Requests asked of the limits in Redis.", {{"result", std::string(result)}})
        .Increment();
  }
  void took(Duration time) { seconds_.Observe(to_seconds(time)); }
  void up(bool is) { up_.Set(is ? 1 : 0); }
  void unsettled(size_t count) { unsettled_.Set(static_cast<double>(count)); }
  void forgotten() { forgotten_.Increment(); }

 private:
  telemetry::Metrics& metrics_;
  telemetry::Gauge& up_ = metrics_.gauge(telemetry::View::kNative, "sluice_gateway_redis_up",
                                         "Whether the limits in Redis can be asked.");
  telemetry::Gauge& unsettled_ =
      metrics_.gauge(telemetry::View::kNative, "sluice_gateway_shared_limits_unsettled",
                     "Ends of requests that Redis has not been told.");
  telemetry::Counter& forgotten_ =
      metrics_.counter(telemetry::View::kNative, "sluice_gateway_shared_limits_forgotten_total",
                       "Requests during a loss of Redis that it will never be told.");
  telemetry::Histogram& seconds_ = metrics_.histogram(
      telemetry::View::kNative, "sluice_gateway_shared_limits_seconds",
      "From the question to Redis's answer.",
      {0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1});
};

Result<net::RedisOptions> client_options(const plan::RedisPlan& plan) {
  net::RedisOptions options;
  options.host = plan.host;
  options.port = plan.port;
  options.unix_path = plan.unix_path;
  options.username = plan.username;
  options.password = plan.password;
  options.database = plan.database;
  options.timeout = plan.timeout;
  if (plan.secure) {
    auto context = net::TlsContext::for_client(
        {.ca_file = plan.tls.ca,
         .identity = {plan.tls.identity.certificate, plan.tls.identity.key}});
    if (!context) return std::unexpected(context.error().at("limits.redis.tls"));
    options.tls = *std::move(context);
    options.tls_name = plan.tls.server_name;
  }
  return options;
}

}  // namespace

// All but what is atomic or guarded belongs to the loop's thread.
struct SharedLimits::Impl : std::enable_shared_from_this<SharedLimits::Impl> {
  // Answered once, be it by its end.
  struct Reservation {
    Reservation(Payer the_payer, const Amount& the_most, std::function<void(Answer)> on_answer)
        : payer(std::move(the_payer)), most(the_most), done(std::move(on_answer)) {}
    ~Reservation() {
      answer(std::unexpected(Denied{
          .denial = {"tenant", std::nullopt, Status(Code::kCancelled, "the gateway ends")}}));
    }
    Reservation(const Reservation&) = delete;
    Reservation& operator=(const Reservation&) = delete;
    void answer(Answer given) {
      if (const auto told = std::exchange(done, {})) told(std::move(given));
    }

    const Payer payer;
    const Amount most;
    const std::string id = new_id("r-");
    std::function<void(Answer)> done;
    const TimePoint asked = net::EventLoop::now();
    bool again = false;
  };
  struct Settlement {
    std::string tenant;
    std::string id;
    Amount used = {};
    std::vector<std::string> charged = {};  // subjects, where there may be no reservation
    bool held = false;                      // it counts in `open`
  };

  Impl(const plan::RedisPlan& the_plan, telemetry::Metrics& metrics)
      : plan(the_plan), counts(metrics) {}

  std::vector<std::string> arguments(const std::string& tenant) const;
  void run(Script& script, std::vector<std::string> arguments, RedisClient::Done done);
  void ask(const std::shared_ptr<Reservation>& what);
  void answered(const std::shared_ptr<Reservation>& what, const Result<RedisReply>& reply);
  void failed(const std::shared_ptr<Reservation>& what, const Status& why);
  void settle(Settlement what);
  void settle_left();
  void renew();
  void on_state(const Outcome& state);
  void note(const std::string& error);
  Answer read(const Reservation& what, const RedisReply& reply);

  const plan::RedisPlan plan;
  const std::string gateway = new_id("g-");
  Counts counts;
  std::shared_ptr<net::EventLoop> loop;
  std::shared_ptr<RedisClient> client;
  std::thread thread;
  std::atomic<bool> up = false;
  std::atomic<size_t> unsettled = 0;

  Script reserve_script{kReserveScript};
  Script settle_script{kSettleScript};
  Script renew_script{kRenewScript};
  std::unordered_map<std::string, int> open;  // reservations by tenant
  std::deque<Settlement> unsent;              // what Redis has not taken
  std::optional<net::EventLoop::Timer> renewal;
  std::string last_error;
  TimePoint noted{};

  std::mutex mutex;
  std::condition_variable known;
  bool tried = false;  // the first attempt to connect has ended
};

std::vector<std::string> SharedLimits::Impl::arguments(const std::string& tenant) const {
  return {"1", fmt::format("{}:{{{}}}", plan.prefix, tenant), gateway,
          std::to_string(std::chrono::duration_cast<milliseconds>(plan.lease).count())};
}

// By its digest, and by its text where Redis does not know it (any more).
void SharedLimits::Impl::run(Script& script, std::vector<std::string> arguments,
                             RedisClient::Done done) {
  const auto command = [](std::string_view name, const std::string& what,
                          const std::vector<std::string>& rest) {
    std::vector<std::string> all = {std::string(name), what};
    all.insert(all.end(), rest.begin(), rest.end());
    return all;
  };
  if (script.digest.empty()) {
    client->call({"SCRIPT", "LOAD", script.text}, [&script](const Result<RedisReply>& reply) {
      if (reply && script.digest.empty()) script.digest = reply->text;
    });
    client->call(command("EVAL", script.text, arguments), std::move(done));
    return;
  }
  const auto first = command("EVALSHA", script.digest, arguments);
  client->call(first, [self = weak_from_this(), command, &script, rest = std::move(arguments),
                       done = std::move(done)](Result<RedisReply> reply) mutable {
    const auto alive = self.lock();
    if (!alive || reply || reply.error().reason() != "NOSCRIPT") return done(std::move(reply));
    alive->client->call(command("EVAL", script.text, rest), std::move(done));
  });
}

void SharedLimits::Impl::ask(const std::shared_ptr<Reservation>& what) {
  if (unsettled >= kMostUnsettled) {
    return failed(what, {Code::kUnavailable, "too many ends of requests wait for Redis"});
  }
  std::vector<std::string> all = arguments(what->payer.tenant);
  all.insert(all.end(),
             {what->id, std::to_string(what->most.tokens), std::to_string(what->most.micros)});
  for (const Subject& subject : subjects_of(what->payer)) {
    const plan::Limits& limits = subject.limits;
    all.push_back(subject.name);
    for (const int64_t each :
         {limits.max_concurrent, limits.requests_per_minute, limits.tokens_per_minute,
          limits.tokens_per_day, limits.micros_per_day, limits.micros_per_month}) {
      all.push_back(std::to_string(each));
    }
  }
  run(reserve_script, std::move(all),
      [self = weak_from_this(), what](const Result<RedisReply>& reply) {
        if (const auto alive = self.lock()) alive->answered(what, reply);
      });
}

void SharedLimits::Impl::answered(const std::shared_ptr<Reservation>& what,
                                  const Result<RedisReply>& reply) {
  if (reply) {
    counts.took(net::EventLoop::now() - what->asked);
    Answer answer = read(*what, *reply);
    if (!answer && answer.error().denial.failure) {
      return failed(what, *answer.error().denial.failure);
    }
    if (answer) ++open[what->payer.tenant];
    counts.asked(answer ? "granted" : "refused");
    return what->answer(std::move(answer));
  }
  const bool lost = reply.error().reason() == RedisClient::kLost;
  // By the same id it is reserved once, however often it is asked for.
  if (lost && !std::exchange(what->again, true)) return ask(what);
  // Whether it was reserved is unknown. It must not be reserved later, either.
  if (what->again) settle({.tenant = what->payer.tenant, .id = what->id});
  failed(what, reply.error());
}

void SharedLimits::Impl::failed(const std::shared_ptr<Reservation>& what, const Status& why) {
  counts.asked("lost");
  note(why.message());
  what->answer(std::unexpected(Denied{.denial = {"tenant", std::nullopt, why}}));
}

SharedLimits::Answer SharedLimits::Impl::read(const Reservation& what, const RedisReply& reply) {
  const auto subjects = subjects_of(what.payer);
  const int64_t kind = reply.integer_at(0, -1);
  const size_t at = kind == 0 ? 1 : 7;
  const auto subject = static_cast<size_t>(reply.integer_at(1) - 1);
  const auto limit = static_cast<size_t>(reply.integer_at(2) - 1);
  if ((kind != 0 && kind != 1) || reply.items.size() != at + 4 * subjects.size() ||
      (kind == 1 && (subject >= subjects.size() || limit >= std::size(kKinds)))) {
    return std::unexpected(Denied{
        .denial = {"tenant", std::nullopt,
                   Status(Code::kUnavailable, "Redis's answer was not what its script says")}});
  }
  Ledger::MinuteLeft left;
  const auto take = [&](std::optional<Budget::Left>& of, size_t i, int64_t allowed) {
    const int64_t rest = reply.integer_at(i, -1);
    if (rest < 0 || (of && of->left <= rest)) return;
    of = Budget::Left{
        .limit = allowed, .left = rest, .reset = milliseconds(reply.integer_at(i + 1))};
  };
  for (size_t i = 0; i < subjects.size(); ++i) {
    take(left.requests, at + 4 * i, subjects[i].limits.requests_per_minute);
    take(left.tokens, at + 4 * i + 2, subjects[i].limits.tokens_per_minute);
  }
  if (kind == 0) {
    return Granted{std::make_shared<Hold>(shared_from_this(), what.payer.tenant, what.id), left};
  }
  Refusal refusal{.limit = kKinds[limit],
                  .allowed = reply.integer_at(3),
                  .used = reply.integer_at(4),
                  .asked = reply.integer_at(5)};
  if (reply.integer_at(6) >= 0) refusal.retry_after = milliseconds(reply.integer_at(6));
  return std::unexpected(
      Denied{.denial = {std::string(subjects[subject].told), refusal, std::nullopt}, .left = left});
}

void SharedLimits::Impl::settle(Settlement what) {
  std::vector<std::string> all = arguments(what.tenant);
  all.insert(all.end(),
             {what.id, std::to_string(what.used.tokens), std::to_string(what.used.micros)});
  all.insert(all.end(), what.charged.begin(), what.charged.end());
  counts.unsettled(++unsettled);
  run(settle_script, std::move(all),
      [self = weak_from_this(), what = std::move(what)](const Result<RedisReply>& reply) mutable {
        const auto alive = self.lock();
        if (!alive) return;
        if (!reply) {
          alive->unsent.push_back(std::move(what));
          return;
        }
        alive->counts.unsettled(--alive->unsettled);
        if (!what.held) return;
        const auto found = alive->open.find(what.tenant);
        if (found != alive->open.end() && --found->second == 0) alive->open.erase(found);
      });
}

void SharedLimits::Impl::settle_left() {
  for (Settlement& each : std::exchange(unsent, {})) {
    --unsettled;
    settle(std::move(each));
  }
}

// Three times in a lease; also tries again what Redis would not take.
void SharedLimits::Impl::renew() {
  renewal->set(net::EventLoop::now() + plan.lease / 3);
  if (!up) return;
  for (const auto& [tenant, count] : open) {
    run(renew_script, arguments(tenant), [](const Result<RedisReply>&) {});
  }
  settle_left();
}

void SharedLimits::Impl::on_state(const Outcome& state) {
  up = state.has_value();
  counts.up(up);
  {
    const std::lock_guard lock(mutex);
    tried = true;
  }
  known.notify_all();
  if (!state) return note(state.error().message());
  if (!last_error.empty()) log_info("limits: Redis can be asked again");
  last_error.clear();
  renew();
}

// What keeps Redis from being asked: once a second at the most, and again when it changes.
void SharedLimits::Impl::note(const std::string& error) {
  const TimePoint now = net::EventLoop::now();
  if (error == last_error || now - noted < std::chrono::seconds(1)) return;
  log_warn("limits: {}", error);
  last_error = error;
  noted = now;
}

void SharedLimits::Hold::settle(const Amount& used) {
  if (std::exchange(settled_, true)) return;
  owner_->loop->post([impl = owner_, tenant = tenant_, id = id_, used] {
    impl->settle({.tenant = tenant, .id = id, .used = used, .held = true});
  });
}

Result<std::unique_ptr<SharedLimits>> SharedLimits::open(const plan::RedisPlan& plan,
                                                         telemetry::Metrics& metrics) {
  SLUICE_ASSIGN_OR_RETURN(const net::RedisOptions options, client_options(plan));
  auto impl = std::make_shared<Impl>(plan, metrics);
  SLUICE_ASSIGN_OR_RETURN(impl->loop, net::EventLoop::create());
  Impl& parts = *impl;
  parts.client = std::make_shared<RedisClient>(
      parts.loop, options, [&parts](const Outcome& state) { parts.on_state(state); });
  parts.renewal.emplace(*parts.loop, [&parts] { parts.renew(); });
  std::unique_ptr<SharedLimits> made(new SharedLimits(impl));
  parts.thread = std::thread([loop = parts.loop] { loop->run(); });
  parts.loop->post([client = parts.client] { client->start(); });
  std::unique_lock lock(parts.mutex);
  parts.known.wait_for(lock, 2 * plan.timeout, [&] { return parts.tried; });
  return made;
}

SharedLimits::SharedLimits(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}

SharedLimits::~SharedLimits() {
  // Behind the settlements that were posted before it, in the same pipeline.
  auto last = std::make_shared<std::promise<void>>();
  impl_->loop->post([impl = impl_, last] {
    impl->client->call({"PING"}, [last](const Result<RedisReply>&) { last->set_value(); });
  });
  last->get_future().wait_for(2 * impl_->plan.timeout);
  impl_->loop->post([impl = impl_] {
    impl->client->stop();
    impl->renewal->disarm();
  });
  impl_->loop->stop();
  impl_->thread.join();
}

bool SharedLimits::up() const { return impl_->up; }

void SharedLimits::reserve(Payer payer, const Amount& most, std::function<void(Answer)> done) {
  auto what = std::make_shared<Impl::Reservation>(std::move(payer), most, std::move(done));
  impl_->loop->post([impl = impl_, what] { impl->ask(what); });
}

SharedLimits::Answer SharedLimits::reserve_now(Payer payer, const Amount& most) {
  auto answer = std::make_shared<std::promise<Answer>>();
  auto future = answer->get_future();
  reserve(std::move(payer), most, [answer](Answer given) { answer->set_value(std::move(given)); });
  return future.get();
}

void SharedLimits::charge(const Payer& payer, const Amount& used) {
  Impl::Settlement what{.tenant = payer.tenant, .id = new_id("c-"), .used = used};
  for (const Subject& subject : subjects_of(payer)) what.charged.push_back(subject.name);
  impl_->loop->post([impl = impl_, what = std::move(what)]() mutable {
    if (impl->unsettled >= kMostUnsettled) return impl->counts.forgotten();
    impl->settle(std::move(what));
  });
}

}  // namespace sluice::gateway
