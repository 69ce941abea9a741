#include "engine/core.h"

#include <algorithm>
#include <atomic>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"
#include "engine/logit_rules.h"

namespace sluice::engine {
namespace {

// Logits of prompt rows held at a time, for prompt logprobs: 64 MiB.
constexpr int64_t kMaxPromptLogits = int64_t{16} << 20;
// Fewer logits than these are sampled sooner by one thread than handed out.
constexpr size_t kParallelLogits = size_t{32} << 10;

SchedulerOptions scheduler_options(const EngineOptions& options, int vocab) {
  SLUICE_CHECK(options.max_sequences > 0 && options.max_batched_tokens > 0, "an engine needs rows");
  SLUICE_CHECK(options.block_size > 0 && options.kv_blocks > 0, "an engine needs KV blocks");
  SLUICE_CHECK(options.kv_blocks <= std::numeric_limits<int32_t>::max(), "block ids are 32 bits");
  SLUICE_CHECK(options.max_context > 1, "a context has a prompt and an output");
  SchedulerOptions result;
  result.max_sequences = options.max_sequences;
  result.max_batched_tokens = options.max_batched_tokens;
  result.block_size = options.block_size;
  result.kv_blocks = static_cast<int32_t>(options.kv_blocks);
  result.prefix_caching = options.prefix_caching ? PrefixCaching::kOn : PrefixCaching::kOff;
  result.max_prompt_logit_rows =
      static_cast<int>(std::clamp<int64_t>(kMaxPromptLogits / vocab, 16, 1 << 20));
  result.max_step_stretch = options.max_step_stretch;
  result.speculation = options.speculation;
  return result;
}

RequestBounds request_bounds(const EngineOptions& options, int vocab) {
  const int64_t kv_tokens = options.kv_blocks * options.block_size;
  return {.vocab = vocab,
          .max_context = options.max_context,
          .kv_tokens =
              static_cast<int>(std::min<int64_t>(kv_tokens, std::numeric_limits<int32_t>::max()))};
}

// The rows of a plan entry, by position, whose logits are wanted. Row q predicts position q + 1.
struct WantedRows {
  int prompt_begin = 0;  // for prompt logprobs
  int prompt_end = 0;
  bool last = false;  // for the next token

  // Rows of logits, those of the drafts behind the last among them.
  size_t count(int drafts) const {
    return size_t(prompt_end - prompt_begin) + (last ? size_t(drafts) + 1 : 0);
  }
};

WantedRows wanted_rows(const Sequence& sequence, int first, int rows) {
  WantedRows wanted;
  if (sequence.owes_prompt_logprobs()) {
    wanted.prompt_begin = std::max(first, sequence.prompt_logprobs_done);
    wanted.prompt_end =
        std::max(wanted.prompt_begin, std::min(first + rows, sequence.prompt_size - 1));
  }
  wanted.last = first + rows == sequence.size() && sequence.size() < sequence.max_size;
  return wanted;
}

StepOutput output_for(const Sequence& sequence, TimePoint now) {
  StepOutput output;
  output.id = sequence.id;
  output.cached_tokens = sequence.cached_tokens;
  output.queued = sequence.queued;
  output.scheduled = sequence.scheduled;
  output.first_token = sequence.first_token;
  output.at = now;
  return output;
}

void fail_with(const Status& status, StepOutput& output) {
  output.finish = FinishReason::kError;
  output.error = status.message();
  output.error_code = status.code();
}

}  // namespace

EngineCore::EngineCore(Runner& runner, EngineOptions options, const Clock& clock)
    : runner_(runner),
      options_(std::move(options)),
      clock_(clock),
      bounds_(request_bounds(options_, runner.vocab())),
      scheduler_(scheduler_options(options_, runner.vocab())),
      samplers_(size_t(options_.team == nullptr ? 1 : options_.team->size()),
                Sampler(options_.end_tokens)) {
  if (options_.on_blocks) scheduler_.keep_block_changes();
  if (options_.speculation.method == DraftMethod::kModel && options_.draft.runner != nullptr) {
    drafter_.emplace(options_.draft, options_.speculation, bounds_.vocab, options_.end_tokens,
                     options_.team, clock_);
  }
  update_stats(clock_.now());
}

void EngineCore::add(Request request, TimePoint queued) {
  scheduler_.add(make_sequence(std::move(request), bounds_.context(), queued));
}

void EngineCore::cancel(RequestId id) {
  Sequence* sequence = scheduler_.find(id);
  if (sequence != nullptr) finish(*sequence, FinishReason::kCancelled, clock_.now());
}

void EngineCore::cancel_all() {
  const TimePoint now = clock_.now();
  while (!scheduler_.waiting().empty()) {
    finish(*scheduler_.waiting().back(), FinishReason::kCancelled, now);
  }
  while (!scheduler_.running().empty()) {
    finish(*scheduler_.running().back(), FinishReason::kCancelled, now);
  }
}

std::vector<StepOutput> EngineCore::step() {
  const TimePoint begin = clock_.now();
  expire(begin);
  if (!idle()) {
    if (drafter_) drafter_->propose(scheduler_.running(), scheduler_.cost());
    // Drafting is no part of the step whose time is learned.
    const TimePoint start = clock_.now();
    const Plan& plan = scheduler_.schedule(start);
    build_batch(plan);
    const TimePoint scheduled = clock_.now();
    runner_.forward(batch_,
                    std::span(logits_).first(batch_.output_rows.size() * size_t(bounds_.vocab)));
    const TimePoint ran = clock_.now();
    scheduler_.commit();
    sample_all(plan, ran);
    publish(plan, ran);
    const TimePoint done = clock_.now();
    scheduler_.learn(done - start);
    ++stats_.steps;
    stats_.preemptions += static_cast<uint64_t>(plan.preemptions);
    info_.step = stats_.steps;
    info_.preemptions = plan.preemptions;
    info_.draft = start - begin;
    info_.schedule = scheduled - start;
    info_.forward = ran - scheduled;
    info_.sample = done - ran;
    if (options_.on_step) options_.on_step(info_);
    if (options_.on_blocks) {
      auto changes = scheduler_.take_block_changes();
      if (!changes.empty()) options_.on_blocks(std::move(changes));
    }
  }
  update_stats(clock_.now());
  return std::exchange(outputs_, {});
}

void EngineCore::expire(TimePoint now) {
  std::vector<Sequence*> expired;
  for (const auto* group : {&scheduler_.waiting(), &scheduler_.running()}) {
    for (Sequence* sequence : *group) {
      if (sequence->deadline && *sequence->deadline <= now) expired.push_back(sequence);
    }
  }
  for (Sequence* sequence : expired) finish(*sequence, FinishReason::kDeadline, now);
}

void EngineCore::build_batch(const Plan& plan) {
  batch_.clear();
  info_ = {};
  info_.sequences = static_cast<int>(plan.entries.size());
  for (const PlanEntry& entry : plan.entries) {
    const Sequence& sequence = *entry.sequence;
    const int first = sequence.computed;
    const auto first_row = static_cast<int>(batch_.tokens.size());
    const auto tokens = std::span(sequence.tokens).subspan(size_t(first), size_t(entry.rows));
    batch_.tokens.insert(batch_.tokens.end(), tokens.begin(), tokens.end());
    const auto drafts = std::span(sequence.draft).first(size_t(entry.drafts));
    batch_.tokens.insert(batch_.tokens.end(), drafts.begin(), drafts.end());
    batch_.slices.push_back({.first_row = first_row,
                             .rows = entry.rows + entry.drafts,
                             .first_position = first,
                             .blocks = sequence.blocks});
    const WantedRows wanted = wanted_rows(sequence, first, entry.rows);
    for (int position = wanted.prompt_begin; position < wanted.prompt_end; ++position) {
      batch_.output_rows.push_back(first_row + position - first);
    }
    for (int i = 0; wanted.last && i <= entry.drafts; ++i) {
      batch_.output_rows.push_back(first_row + entry.rows - 1 + i);
    }
    const bool decodes = sequence.remaining() == 1 && sequence.output_size() > 0;
    (decodes ? info_.decode_rows : info_.prefill_rows) += entry.rows;
    info_.draft_rows += entry.drafts;
  }
  const size_t needed = batch_.output_rows.size() * size_t(bounds_.vocab);
  if (logits_.size() < needed) logits_.resize(needed);
}

std::span<const float> EngineCore::logits_of(size_t row) const {
  const auto vocab = static_cast<size_t>(bounds_.vocab);
  return std::span(logits_).subspan(row * vocab, vocab);
}

// Turns each entry's logits into tokens, rows in parallel where that pays. How the entries are
// spread over the team changes nothing: each has its own sequence, logits and random numbers.
void EngineCore::sample_all(const Plan& plan, TimePoint now) {
  const size_t count = plan.entries.size();
  sampled_.resize(count);
  size_t row = 0;
  size_t sampling = 0;
  for (size_t i = 0; i < count; ++i) {
    const PlanEntry& entry = plan.entries[i];
    const Sequence& sequence = *entry.sequence;
    const WantedRows wanted = wanted_rows(sequence, sequence.computed - entry.rows, entry.rows);
    sampled_[i] = {.first_row = row, .output = output_for(sequence, now)};
    const size_t rows = wanted.count(entry.drafts);
    row += rows;
    sampling += rows > 0 ? 1 : 0;
  }
  const auto parts = static_cast<int>(std::min(samplers_.size(), sampling));
  if (parts < 2 || sampling * size_t(bounds_.vocab) < kParallelLogits) {
    for (size_t i = 0; i < count; ++i) sample_entry(plan.entries[i], samplers_[0], sampled_[i]);
    return;
  }
  std::atomic<size_t> next{0};
  options_.team->run([&](int member) {
    for (size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) {
      sample_entry(plan.entries[i], samplers_[size_t(member)], sampled_[i]);
    }
  });
}

void EngineCore::sample_entry(const PlanEntry& entry, Sampler& sampler, Sampled& sampled) const {
  Sequence& sequence = *entry.sequence;
  const WantedRows wanted = wanted_rows(sequence, sequence.computed - entry.rows, entry.rows);
  size_t row = sampled.first_row;
  for (int position = wanted.prompt_begin; position < wanted.prompt_end; ++position) {
    auto scored = sampler.score(sequence.tokens[size_t(position) + 1],
                                sequence.sampling.prompt_logprobs, logits_of(row++));
    if (!scored) return fail_with(scored.error(), sampled.output);
    sampled.output.prompt_logprobs.push_back(*std::move(scored));
    ++sequence.prompt_logprobs_done;
  }
  if (sequence.remaining() > 0) return;
  sampled.prompt_done = sequence.output_size() == sequence.resumed_size;
  if (wanted.last) {
    sample_tokens(entry, row, sampler, sampled);
  } else {
    sampled.output.finish = FinishReason::kLength;  // no token was asked for
  }
}

// One token, and another one for each draft row that held the token chosen before it.
void EngineCore::sample_tokens(const PlanEntry& entry, size_t row, Sampler& sampler,
                               Sampled& sampled) const {
  Sequence& sequence = *entry.sequence;
  StepOutput& output = sampled.output;
  for (int i = 0;; ++i) {
    auto token = sampler.sample(sequence, logits_of(row + size_t(i)));
    if (!token) return fail_with(token.error(), output);
    ++sampled.generated;
    const int32_t id = token->token;
    if (ends_sequence(sequence, options_.end_tokens, id)) {
      output.finish = FinishReason::kStop;
      output.stop_token = id;
      return;
    }
    const bool right = i < entry.drafts && sequence.draft.front() == id;
    check_draft(sequence, id);
    append_token(sequence, id);
    output.tokens.push_back(*std::move(token));
    if (right) ++sampled.accepted_drafts;
    if (sequence.size() >= sequence.max_size) output.finish = FinishReason::kLength;
    if (!right || output.finish != FinishReason::kNone) return;
  }
}

void EngineCore::publish(const Plan& plan, TimePoint now) {
  for (size_t i = 0; i < plan.entries.size(); ++i) {
    publish_entry(plan.entries[i], sampled_[i], now);
  }
}

void EngineCore::publish_entry(const PlanEntry& entry, Sampled& sampled, TimePoint now) {
  Sequence& sequence = *entry.sequence;
  StepOutput& output = sampled.output;
  const bool over = output.finish != FinishReason::kNone;
  if (sampled.prompt_done) {
    stats_.prompt_tokens += static_cast<uint64_t>(sequence.prompt_size);
    sequence.first_token = now;
    output.first_token = now;
  }
  stats_.generated_tokens += static_cast<uint64_t>(sampled.generated);
  stats_.draft_tokens += static_cast<uint64_t>(entry.drafts);
  stats_.accepted_drafts += static_cast<uint64_t>(sampled.accepted_drafts);
  stats_.drafts += entry.drafts > 0 ? 1 : 0;
  if (over || !output.tokens.empty() || !output.prompt_logprobs.empty()) {
    outputs_.push_back(std::move(output));
  }
  if (over) {
    scheduler_.remove(sequence);
  } else if (entry.drafts > 0) {
    scheduler_.settle(sequence, sampled.accepted_drafts);
  }
}

void EngineCore::finish(Sequence& sequence, FinishReason reason, TimePoint now) {
  outputs_.push_back(output_for(sequence, now));
  outputs_.back().finish = reason;
  scheduler_.remove(sequence);
}

size_t EngineCore::queued_requests() const {
  return size_t(std::ranges::count_if(scheduler_.waiting(),
                                      [](const Sequence* s) { return !s->admitted_before; }));
}

size_t EngineCore::queued_tokens() const {
  size_t tokens = 0;
  for (const Sequence* sequence : scheduler_.waiting()) {
    if (!sequence->admitted_before) tokens += size_t(sequence->prompt_size);
  }
  return tokens;
}

void EngineCore::update_stats(TimePoint now) {
  stats_.running = static_cast<int>(scheduler_.running().size());
  stats_.waiting = static_cast<int>(scheduler_.waiting().size());
  stats_.waiting_tokens = 0;
  for (const Sequence* sequence : scheduler_.waiting()) stats_.waiting_tokens += sequence->size();
  const BlockPool& pool = scheduler_.pool();
  stats_.kv_blocks_total = pool.size();
  stats_.kv_blocks_used = pool.held_count();
  stats_.kv_blocks_cached = pool.cached_count();
  stats_.prefix_queries = scheduler_.prefix_queries();
  stats_.prefix_hits = scheduler_.prefix_hits();
  if (drafter_) stats_.draft_model_time = drafter_->spent();
  stats_.last_step = now;
}

}  // namespace sluice::engine
