#include "serving/on_demand_backend.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>

#include "base/log.h"
#include "base/memory_info.h"
#include "completion/prompt_builder.h"
#include "serving/served_model.h"
#include "serving/text_calls.h"

namespace sluice::serving {
namespace {

using completion::Call;
using completion::ModelCard;
using completion::Request;
using completion::ResponseSink;

constexpr double kMemoryShare = 0.75;  // of what is available at the start
constexpr size_t kMostNamed = 16;      // models in one message

int64_t budget_of(const OnDemandOptions& options) {
  if (options.memory_bytes > 0) return options.memory_bytes;
  return static_cast<int64_t>(kMemoryShare * static_cast<double>(available_memory_bytes()));
}

// A request that may wait for its model.
class PendingCall final : public Call {
 public:
  explicit PendingCall(ModelPool& pool) : pool_(pool) {}

  void cancel() override {
    std::shared_ptr<Call> begun;
    uint64_t waiter = 0;
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      begun = begun_;
      waiter = waiter_;
    }
    if (begun) return begun->cancel();
    if (waiter != 0) pool_.cancel(waiter);
  }

  void waits_as(uint64_t waiter) {
    {
      const std::lock_guard lock(mutex_);
      waiter_ = waiter;
      if (!cancelled_) return;
    }
    pool_.cancel(waiter);
  }

  void begun(const std::shared_ptr<Call>& call) {
    {
      const std::lock_guard lock(mutex_);
      begun_ = call;
      if (!cancelled_) return;
    }
    call->cancel();
  }

 private:
  ModelPool& pool_;
  std::mutex mutex_;
  std::shared_ptr<Call> begun_;
  uint64_t waiter_ = 0;
  bool cancelled_ = false;
};

}  // namespace

OnDemandBackend::OnDemandBackend(const OnDemandOptions& options, ThreadTeam& team,
                                 telemetry::Metrics& metrics, const Clock& clock)
    : memory_bytes_(budget_of(options)),
      team_(team),
      metrics_(metrics),
      clock_(clock),
      pool_(
          {.memory_bytes = memory_bytes_,
           .patience = options.load_patience,
           .max_waiting = options.max_waiting},
          [this](size_t index) -> Result<PoolNeed> {
            const Known& known = known_[index];
            SLUICE_ASSIGN_OR_RETURN(const auto plan,
                                    LoadedModel::plan_memory(known.path, known.settings));
            return PoolNeed{.bytes = plan.weights + plan.kv.bytes,
                            .max_model_len = plan.kv.max_model_len};
          },
          [this](size_t index, std::function<void()> on_idle) {
            const Known& known = known_[index];
            forget_text(index);  // its file may be another one by now
            return ServedModel::start(known.path, known.settings, team_, metrics_, clock_,
                                      std::move(on_idle));
          },
          metrics, clock) {
  metrics_.before_scrape(
      [this] { pool_.each_loaded([](ServedModel& served) { served.set_gauges(); }); });
}

OnDemandBackend::~OnDemandBackend() = default;

Outcome OnDemandBackend::add_model(const ModelPath& path, const ModelSettings& settings) {
  if (settings.speculation.method == engine::DraftMethod::kModel) {
    return invalid(
        "--speculative-config: a draft model goes with models that are loaded at the "
        "start, not with those on demand");
  }
  for (const std::string& name : path.names) {
    if (by_name_.contains(name)) {
      return fail(Code::kAlreadyExists,
                  fmt::format("two models are named '{}': tell them apart with MODEL=name", name));
    }
  }
  Known known{.path = path, .settings = settings};
  if (known.settings.kv_cache_bytes == 0) {
    known.settings.kv_cache_bytes = memory_bytes_ / kCacheShare;
  }
  PoolModel model{.names = path.names, .card = {}};
  model.card = {.id = path.names.front(),
                .root = path.path.filename().string(),
                .max_model_len = 0,
                .created = clock_.unix_seconds(),
                .fingerprint = {},
                .primary = path.names.front()};
  for (const std::string& name : path.names) by_name_.emplace(name, known_.size());
  known_.push_back(std::move(known));
  if (const Outcome good = pool_.add(std::move(model)); !good) {
    log_warn("{}", good.error().message());
  }
  return {};
}

Result<size_t> OnDemandBackend::find(const std::string& name) const {
  if (known_.empty()) return fail(Code::kUnavailable, "no model is known");
  if (name.empty()) return size_t{0};
  if (const auto found = by_name_.find(name); found != by_name_.end()) return found->second;
  std::string some;
  for (size_t i = 0; i < known_.size() && i < kMostNamed; ++i) {
    some += fmt::format("{}'{}'", i == 0 ? "" : ", ", known_[i].path.names.front());
  }
  if (known_.size() > kMostNamed) some += fmt::format(" and {} more", known_.size() - kMostNamed);
  return fail(
      Code::kNotFound,
      fmt::format("the model '{}' does not exist; this server has {}", name.substr(0, 128), some),
      "model", "model_not_found");
}

std::vector<ModelCard> OnDemandBackend::models() const {
  std::vector<ModelCard> cards;
  for (size_t i = 0; i < known_.size(); ++i) {
    ModelCard card = pool_.card(i);
    card.block_size = 0;  // what leaves with its model is not told block by block
    for (const std::string& name : known_[i].path.names) {
      card.id = name;
      cards.push_back(card);
    }
  }
  return cards;
}

Result<ModelCard> OnDemandBackend::find_model(const std::string& name) const {
  SLUICE_ASSIGN_OR_RETURN(const size_t index, find(name));
  ModelCard card = pool_.card(index);
  card.block_size = 0;
  if (!name.empty()) card.id = name;
  return card;
}

Result<std::shared_ptr<Call>> OnDemandBackend::generate(Request request,
                                                        std::shared_ptr<ResponseSink> sink) {
  SLUICE_ASSIGN_OR_RETURN(const size_t index, find(request.model));
  if (auto lease = pool_.try_use(index)) {
    return lease->generate(std::move(request), std::move(sink));
  }
  const TimePoint until = request.deadline.value_or(TimePoint::max());
  auto call = std::make_shared<PendingCall>(pool_);
  auto held = std::make_shared<Request>(std::move(request));
  const auto waiter =
      pool_.want(index, until, [call, held, sink](const Result<ModelPool::Lease>& lease) {
        if (!lease) return sink->on_error(lease.error());
        auto begun = (**lease).generate(std::move(*held), sink);
        if (!begun) return sink->on_error(begun.error());
        call->begun(*begun);
      });
  if (!waiter) return std::unexpected(waiter.error());
  call->waits_as(*waiter);
  return call;
}

Result<std::shared_ptr<const OnDemandBackend::Text>> OnDemandBackend::text_of(size_t index) const {
  {
    const std::lock_guard lock(text_mutex_);
    if (text_ && text_->index == index) return text_;
  }
  const Known& known = known_[index];
  auto read = LoadedModel::load_text(known.path, known.settings);
  if (!read) {
    return fail(Code::kUnavailable,
                fmt::format("the model '{}' cannot be read: {}", known.path.names.front(),
                            read.error().message()),
                "model", "model_load_failed");
  }
  auto text = std::make_shared<Text>(Text{.index = index, .model = *std::move(read)});
  const std::lock_guard lock(text_mutex_);
  text_ = text;
  return text;
}

void OnDemandBackend::forget_text(size_t index) {
  const std::lock_guard lock(text_mutex_);
  if (text_ && text_->index == index) text_.reset();
}

template <typename T, typename Use>
Result<T> OnDemandBackend::with_text(const std::string& name, const Use& use) const {
  SLUICE_ASSIGN_OR_RETURN(const size_t index, find(name));
  if (const auto lease = pool_.try_use(index)) {
    return use(lease->loaded(), index);
  }
  SLUICE_ASSIGN_OR_RETURN(const auto text, text_of(index));
  return use(*text->model, index);
}

Result<completion::TokenizeResult> OnDemandBackend::tokenize(
    const completion::TokenizeRequest& request) const {
  using completion::TokenizeResult;
  return with_text<TokenizeResult>(
      request.model, [&](const LoadedModel& model, size_t index) -> Result<TokenizeResult> {
        SLUICE_ASSIGN_OR_RETURN(auto result, tokenize_by(model, request, clock_));
        result.max_model_len = pool_.card(index).max_model_len;
        return result;
      });
}

Result<std::string> OnDemandBackend::detokenize(const std::string& model,
                                                const std::vector<int32_t>& tokens) const {
  return with_text<std::string>(
      model, [&](const LoadedModel& loaded, size_t) { return detokenize_by(loaded, tokens); });
}

// One that is being loaded advances too: with the time.
uint64_t OnDemandBackend::steps(const std::string& model) const {
  const auto index = find(model);
  if (!index) return 0;
  uint64_t steps = 0;
  bool found = false;
  pool_.each_loaded([&](ServedModel& served) {
    if (served.names().front() != known_[*index].path.names.front()) return;
    steps = served.stats().steps;
    found = true;
  });
  if (found || !pool_.loading(*index)) return steps;
  return static_cast<uint64_t>(
      std::chrono::duration_cast<std::chrono::milliseconds>(clock_.now().time_since_epoch())
          .count());
}

completion::Load OnDemandBackend::load() const {
  completion::Load load;
  pool_.each_loaded([&](const ServedModel& served) { served.add_to(load); });
  load.waiting += pool_.waiting();
  return load;
}

void OnDemandBackend::change_model(const std::string& model, bool load,
                                   const std::function<void(Outcome)>& done) {
  const auto index = find(model);
  if (!index) return done(std::unexpected(index.error()));
  if (!load) return pool_.unload(*index, done);
  const auto waiter =
      pool_.want(*index, TimePoint::max(), [done](const Result<ModelPool::Lease>& lease) {
        done(lease ? Outcome() : std::unexpected(lease.error()));
      });
  if (!waiter) done(std::unexpected(waiter.error()));
}

}  // namespace sluice::serving
