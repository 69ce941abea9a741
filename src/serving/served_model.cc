#include "serving/served_model.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/log.h"
#include "base/rng.h"
#include "completion/prompt_builder.h"
#include "serving/resume.h"
#include "serving/sampling.h"

namespace sluice::serving {
namespace {

using completion::Call;
using completion::Request;
using completion::ResponseSink;

}  // namespace

// Cancels all choices of one request. Safe to call when the request has ended, and the model with
// it.
class ServedModel::LocalCall final : public Call {
 public:
  LocalCall(std::shared_ptr<Door> door, std::vector<engine::RequestId> ids)
      : door_(std::move(door)), ids_(std::move(ids)) {}
  void cancel() override {
    const std::lock_guard lock(door_->mutex);
    if (door_->model != nullptr) door_->model->cancel(ids_);
  }

 private:
  const std::shared_ptr<Door> door_;
  const std::vector<engine::RequestId> ids_;
};

Result<std::unique_ptr<ServedModel>> ServedModel::start(
    const ModelPath& path, const ModelSettings& settings, ThreadTeam& team,
    telemetry::Metrics& metrics, const Clock& clock, std::function<void()> on_idle) {
  SLUICE_ASSIGN_OR_RETURN(auto loaded, LoadedModel::load(path, settings, team));
  std::unique_ptr<ServedModel> served(
      new ServedModel(path, settings, std::move(loaded), metrics, clock, std::move(on_idle)));
  served->start_engine(team);
  served->door_->model = served.get();
  return served;
}

ServedModel::ServedModel(const ModelPath& path, const ModelSettings& settings,
                         std::unique_ptr<LoadedModel> loaded, telemetry::Metrics& metrics,
                         const Clock& clock, std::function<void()> on_idle)
    : settings_(settings),
      names_(path.names),
      root_(path.path.filename().string()),
      clock_(clock),
      created_(clock.unix_seconds()),
      on_idle_(std::move(on_idle)),
      loaded_(std::move(loaded)),
      metrics_(metrics, path.names.front(), loaded_->max_model_len(),
               {.block_size = settings.block_size,
                .blocks = loaded_->kv_blocks(),
                .kv_type = std::string(kv_type_name(loaded_->kv_type())),
                .prefix_caching = settings.prefix_caching}),
      next_seed_(settings.seeded ? settings.seed : random_seed()) {}

void ServedModel::start_engine(ThreadTeam& team) {
  publisher_ = std::jthread([this] { publish_loop(); });
  const engine::EngineOptions options{
      .max_sequences = settings_.max_num_seqs,
      .max_batched_tokens = settings_.max_num_batched_tokens,
      .max_context = loaded_->max_model_len(),
      .block_size = settings_.block_size,
      .kv_blocks = loaded_->kv_blocks(),
      .prefix_caching = settings_.prefix_caching,
      .max_queued_requests = settings_.max_queued_requests,
      .max_queued_tokens = settings_.max_queued_tokens,
      .end_tokens = loaded_->end_tokens(),
      .max_step_stretch = settings_.max_step_stretch,
      .speculation = settings_.speculation,
      .team = &team,
      .on_step =
          [this](const engine::StepInfo& step) {
            metrics_.step_tokens.observe(step.prefill_rows + step.decode_rows + step.draft_rows);
          },
      .on_blocks =
          [this](std::vector<PrefixChange>&& changes) {
            {
              const std::lock_guard lock(outputs_mutex_);
              block_changes_.insert(block_changes_.end(), changes.begin(), changes.end());
            }
            outputs_ready_.notify_one();
          }};
  engine_ = engine::start_engine(
      loaded_->model(), options,
      [this](std::vector<engine::StepOutput>&& outputs) {
        {
          const std::lock_guard lock(outputs_mutex_);
          std::ranges::move(outputs, std::back_inserter(outputs_));
        }
        outputs_ready_.notify_one();
      },
      clock_, loaded_->draft());
}

ServedModel::~ServedModel() {
  {
    const std::lock_guard lock(door_->mutex);
    door_->model = nullptr;
  }
  // The counts stay, whether or not the model comes back.
  set_gauges();
  metrics_.running.set(0);
  metrics_.waiting.set(0);
  metrics_.kv_usage.set(0);
  metrics_.kv_usage_old->Set(0);
  engine_.reset();  // its last outputs say how every request ended
  {
    const std::lock_guard lock(outputs_mutex_);
    stopping_ = true;
  }
  outputs_ready_.notify_one();
}

completion::ModelCard ServedModel::card() const {
  return {.id = names_.front(),
          .root = root_,
          .max_model_len = loaded_->max_model_len(),
          .created = created_,
          .fingerprint = loaded_->fingerprint(),
          .primary = names_.front(),
          .block_size = settings_.block_size};
}

Result<std::vector<std::vector<int32_t>>> ServedModel::build_prompts(Request& request) const {
  std::vector<std::vector<int32_t>> prompts;
  for (const completion::Prompt& prompt : request.prompts) {
    SLUICE_ASSIGN_OR_RETURN(auto tokens, completion::build_prompt(loaded_->text(), prompt, clock_));
    if (request.truncate_prompt_tokens &&
        tokens.size() > static_cast<size_t>(*request.truncate_prompt_tokens)) {
      tokens.erase(tokens.begin(), tokens.end() - *request.truncate_prompt_tokens);
    }
    if (tokens.empty()) {
      return invalid("the prompt is empty: it must have at least one token", "prompt");
    }
    const int vocab = loaded_->source().config().vocab;
    const auto outside = std::ranges::find_if(tokens, [vocab](int32_t id) { return id >= vocab; });
    if (outside != tokens.end()) {
      return invalid(fmt::format("the prompt holds token id {}; this model's ids end at {}",
                                 *outside, vocab - 1),
                     "prompt");
    }
    if (static_cast<int>(tokens.size()) >= loaded_->max_model_len()) {
      return fail(Code::kInvalidArgument,
                  fmt::format("the prompt has {} tokens; this model's context of {} leaves no room "
                              "for an answer: shorten the prompt or set truncate_prompt_tokens",
                              tokens.size(), loaded_->max_model_len()),
                  "prompt", "context_length_exceeded");
    }
    prompts.push_back(std::move(tokens));
  }
  return prompts;
}

Result<std::vector<engine::Request>> ServedModel::engine_requests(
    const Request& request, const std::vector<std::vector<int32_t>>& prompts) {
  uint64_t seed = request.sampling.seed.value_or(0);
  if (!request.sampling.seed) {
    Rng rng(next_seed_.fetch_add(1));
    seed = rng.next();
  }
  const int length = context_of(request, *loaded_);
  std::vector<engine::Request> out;
  for (const std::vector<int32_t>& prompt : prompts) {
    const int room = length - static_cast<int>(prompt.size());
    const SamplingContext context{.defaults = &loaded_->source().generation(),
                                  .tokenizer = &loaded_->tokenizer(),
                                  .vocab = loaded_->source().config().vocab,
                                  .room = room,
                                  .prompt_tokens = static_cast<int>(prompt.size()),
                                  .max_model_len = length};
    SLUICE_ASSIGN_OR_RETURN(auto params, resolve_sampling(request.sampling, context, seed));
    metrics_.max_tokens_asked.observe(params.max_tokens);
    for (int n = 0; n < request.choices_per_prompt; ++n) {
      engine::Request one;
      one.id = next_id_.fetch_add(1);
      one.prompt = prompt;
      one.sampling = params;
      one.sampling.seed = choice_seed(seed, n);
      if (n > 0) one.sampling.prompt_logprobs = -1;  // told once per prompt
      one.priority = request.priority;
      one.tenant = request.tenant;
      one.cache_salt = request.cache_salt;
      one.deadline = request.deadline;
      if (request.resume) resume_choice(*request.resume, out.size(), one);
      out.push_back(std::move(one));
    }
  }
  metrics_.choices.observe(request.choices_per_prompt);
  return out;
}

Result<std::shared_ptr<Call>> ServedModel::generate(Request request,
                                                    std::shared_ptr<ResponseSink> sink) {
  const TimePoint arrived = clock_.now();
  if (request.resume) SLUICE_RETURN_IF_ERROR(check_resume(request, *loaded_));
  auto prompts = build_prompts(request);
  if (!prompts) {
    count_rejection(prompts.error());
    return std::unexpected(std::move(prompts).error());
  }
  auto requests = engine_requests(request, *prompts);
  if (!requests) {
    count_rejection(requests.error());
    return std::unexpected(std::move(requests).error());
  }
  completion::PromptInfo info{
      .tokens = *prompts, .text = {}, .fingerprint = loaded_->fingerprint()};
  if (request.echo) {
    for (const auto& tokens : *prompts) {
      info.text.push_back(text::detokenize(loaded_->tokenizer(), tokens,
                                           {.skip_special = request.sampling.skip_special_tokens}));
    }
  }
  std::vector<engine::RequestId> ids;
  for (const engine::Request& one : *requests) ids.push_back(one.id);
  std::erase_if(*requests, [](const engine::Request& one) { return one.prompt.empty(); });
  ResponseSink& told = *sink;  // which `active` keeps
  auto active = std::make_shared<ActiveRequest>(
      ActiveRequestSetup{.request = std::move(request),
                         .prompts = *std::move(prompts),
                         .ids = ids,
                         .tokenizer = &loaded_->tokenizer(),
                         .metrics = &metrics_,
                         .sink = std::move(sink),
                         .cancel = [this](engine::RequestId id) { engine_->cancel(id); },
                         .arrived = arrived,
                         .tracer = settings_.tracer});
  SLUICE_RETURN_IF_ERROR(active->replay());
  told.on_start(std::move(info));
  SLUICE_RETURN_IF_ERROR(submit_all(*std::move(requests), active));
  return std::make_shared<LocalCall>(door_, std::move(ids));
}

Outcome ServedModel::submit_all(std::vector<engine::Request> requests,
                                const std::shared_ptr<ActiveRequest>& active) {
  std::vector<engine::RequestId> accepted;
  for (engine::Request& request : requests) {
    const engine::RequestId id = request.id;
    {
      const std::lock_guard lock(active_mutex_);
      active_.emplace(id, active);
    }
    const Outcome outcome = engine_->submit(std::move(request));
    if (outcome) {
      accepted.push_back(id);
      continue;
    }
    count_rejection(outcome.error());
    {
      // The request is refused as a whole: outputs of its accepted choices find nobody.
      const std::lock_guard lock(active_mutex_);
      for (const engine::RequestId each : active->ids()) active_.erase(each);
    }
    cancel(accepted);
    return outcome;
  }
  return {};
}

void ServedModel::count_rejection(const Status& status) const {
  using telemetry::Rejection;
  Rejection reason = Rejection::kInvalid;
  if (status.reason() == "queue_full_requests") reason = Rejection::kQueueRequests;
  if (status.reason() == "queue_full_tokens") reason = Rejection::kQueueTokens;
  if (status.reason() == "context_length_exceeded") reason = Rejection::kTooLong;
  if (status.code() == Code::kUnavailable) reason = Rejection::kDraining;
  metrics_.rejected(reason);
}

void ServedModel::cancel(const std::vector<engine::RequestId>& ids) {
  for (const engine::RequestId id : ids) engine_->cancel(id);
}

void ServedModel::drain() {
  draining_ = true;
  engine_->drain();
}

bool ServedModel::idle() const {
  const std::lock_guard lock(active_mutex_);
  return active_.empty();
}

void ServedModel::publish_loop() {
  std::vector<engine::StepOutput> batch;
  std::vector<PrefixChange> changes;
  while (true) {
    {
      std::unique_lock lock(outputs_mutex_);
      outputs_ready_.wait(
          lock, [this] { return stopping_ || !outputs_.empty() || !block_changes_.empty(); });
      if (outputs_.empty() && block_changes_.empty()) return;
      batch.swap(outputs_);
      changes.swap(block_changes_);
    }
    // Before the outputs: whoever has an answer and goes on with it finds its blocks known.
    if (!changes.empty()) block_feed_.apply(changes);
    changes.clear();
    for (const engine::StepOutput& output : batch) publish(output);
    batch.clear();
  }
}

void ServedModel::publish(const engine::StepOutput& output) {
  std::shared_ptr<ActiveRequest> active;
  {
    const std::lock_guard lock(active_mutex_);
    const auto at = active_.find(output.id);
    if (at == active_.end()) return;
    active = at->second;
  }
  if (!active->publish(output)) return;
  {
    const std::lock_guard lock(active_mutex_);
    active_.erase(output.id);
    if (!active_.empty()) return;
  }
  if (on_idle_) on_idle_();
}

void ServedModel::add_to(completion::Load& load) const {
  const engine::EngineStats now = stats();
  load.running += now.running;
  load.waiting += now.waiting;
  load.waiting_tokens += now.waiting_tokens;
  load.kv_blocks_used += now.kv_blocks_used;
  load.kv_blocks_total += now.kv_blocks_total;
}

void ServedModel::set_gauges() {
  const std::lock_guard lock(gauges_mutex_);
  const engine::EngineStats now = engine_->stats();
  metrics_.running.set(now.running);
  metrics_.waiting.set(now.waiting);
  const double usage = now.kv_blocks_total > 0 ? static_cast<double>(now.kv_blocks_used) /
                                                     static_cast<double>(now.kv_blocks_total)
                                               : 0.0;
  metrics_.kv_usage.set(usage);
  metrics_.kv_usage_old->Set(usage);
  const auto grow = [](const telemetry::BothCounters& counter, uint64_t then, uint64_t value) {
    counter.add(static_cast<double>(value - then));
  };
  grow(metrics_.prompt_tokens, last_scraped_.prompt_tokens, now.prompt_tokens);
  grow(metrics_.generation_tokens, last_scraped_.generated_tokens, now.generated_tokens);
  grow(metrics_.prefix_queries, last_scraped_.prefix_queries, now.prefix_queries);
  grow(metrics_.prefix_hits, last_scraped_.prefix_hits, now.prefix_hits);
  grow(metrics_.preemptions, last_scraped_.preemptions, now.preemptions);
  grow(metrics_.drafts, last_scraped_.drafts, now.drafts);
  grow(metrics_.draft_tokens, last_scraped_.draft_tokens, now.draft_tokens);
  grow(metrics_.accepted_drafts, last_scraped_.accepted_drafts, now.accepted_drafts);
  last_scraped_ = now;
}

}  // namespace sluice::serving
