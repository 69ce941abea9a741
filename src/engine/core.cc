#include "engine/core.h"

#include <algorithm>
#include <limits>
#include <span>
#include <utility>

#include "base/check.h"
#include "engine/logit_rules.h"

namespace sluice::engine {
namespace {

// Logits of prompt rows held at a time, for prompt logprobs: 64 MiB.
constexpr int64_t kMaxPromptLogits = int64_t{16} << 20;

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

}  // namespace

EngineCore::EngineCore(Runner& runner, EngineOptions options, const Clock& clock)
    : runner_(runner),
      options_(std::move(options)),
      clock_(clock),
      bounds_(request_bounds(options_, runner.vocab())),
      scheduler_(scheduler_options(options_, runner.vocab())),
      sampler_(options_.end_tokens) {
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
  const TimePoint start = clock_.now();
  expire(start);
  if (!idle()) {
    const Plan& plan = scheduler_.schedule(start);
    build_batch(plan);
    const TimePoint scheduled = clock_.now();
    runner_.forward(batch_,
                    std::span(logits_).first(batch_.output_rows.size() * size_t(bounds_.vocab)));
    const TimePoint ran = clock_.now();
    scheduler_.commit();
    publish(plan, ran);
    const TimePoint done = clock_.now();
    ++stats_.steps;
    stats_.preemptions += static_cast<uint64_t>(plan.preemptions);
    info_.step = stats_.steps;
    info_.preemptions = plan.preemptions;
    info_.schedule = scheduled - start;
    info_.forward = ran - scheduled;
    info_.sample = done - ran;
    if (options_.on_step) options_.on_step(info_);
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
    batch_.slices.push_back({.first_row = first_row,
                             .rows = entry.rows,
                             .first_position = first,
                             .blocks = sequence.blocks});
    const WantedRows wanted = wanted_rows(sequence, first, entry.rows);
    for (int position = wanted.prompt_begin; position < wanted.prompt_end; ++position) {
      batch_.output_rows.push_back(first_row + position - first);
    }
    if (wanted.last) batch_.output_rows.push_back(first_row + entry.rows - 1);
    const bool decodes = sequence.remaining() == 1 && sequence.output_size() > 0;
    (decodes ? info_.decode_rows : info_.prefill_rows) += entry.rows;
  }
  const size_t needed = batch_.output_rows.size() * size_t(bounds_.vocab);
  if (logits_.size() < needed) logits_.resize(needed);
}

std::span<const float> EngineCore::logits_of(size_t row) const {
  const auto vocab = static_cast<size_t>(bounds_.vocab);
  return std::span(logits_).subspan(row * vocab, vocab);
}

void EngineCore::publish(const Plan& plan, TimePoint now) {
  size_t row = 0;
  for (const PlanEntry& entry : plan.entries) publish_entry(entry, row, now);
}

// Turns the entry's logits, from `row` on, into output, and moves `row` behind them.
void EngineCore::publish_entry(const PlanEntry& entry, size_t& row, TimePoint now) {
  Sequence& sequence = *entry.sequence;
  const WantedRows wanted = wanted_rows(sequence, sequence.computed - entry.rows, entry.rows);
  const size_t end = row + size_t(wanted.prompt_end - wanted.prompt_begin) + (wanted.last ? 1 : 0);
  StepOutput output = output_for(sequence, now);
  const bool scored = score_prompt(sequence, wanted.prompt_end, row, output);
  if (scored && sequence.remaining() == 0) {
    if (sequence.output_size() == sequence.resumed_size) {
      stats_.prompt_tokens += static_cast<uint64_t>(sequence.prompt_size);
      sequence.first_token = now;
      output.first_token = now;
    }
    if (wanted.last) {
      sample(sequence, logits_of(row), output);
    } else {
      output.finish = FinishReason::kLength;  // no token was asked for
    }
  }
  row = end;
  const bool over = output.finish != FinishReason::kNone;
  if (over || !output.tokens.empty() || !output.prompt_logprobs.empty()) {
    outputs_.push_back(std::move(output));
  }
  if (over) scheduler_.remove(sequence);
}

bool EngineCore::score_prompt(Sequence& sequence, int end, size_t& row, StepOutput& output) {
  for (int position = sequence.prompt_logprobs_done; position < end; ++position) {
    auto scored = Sampler::score(sequence.tokens[size_t(position) + 1],
                                 sequence.sampling.prompt_logprobs, logits_of(row++));
    if (!scored) {
      output.finish = FinishReason::kError;
      output.error = scored.error().message();
      output.error_code = scored.error().code();
      return false;
    }
    output.prompt_logprobs.push_back(*std::move(scored));
    ++sequence.prompt_logprobs_done;
  }
  return true;
}

void EngineCore::sample(Sequence& sequence, std::span<const float> logits, StepOutput& output) {
  auto token = sampler_.sample(sequence, logits);
  if (!token) {
    output.finish = FinishReason::kError;
    output.error = token.error().message();
    output.error_code = token.error().code();
    return;
  }
  accept(sequence, *std::move(token), output);
}

// Adds a token to the sequence and its output, and finds out whether it was the last.
void EngineCore::accept(Sequence& sequence, TokenOutput token, StepOutput& output) {
  ++stats_.generated_tokens;
  if (ends_sequence(sequence, options_.end_tokens, token.token)) {
    output.finish = FinishReason::kStop;
    output.stop_token = token.token;
    return;
  }
  append_token(sequence, token.token);
  output.tokens.push_back(std::move(token));
  if (sequence.size() >= sequence.max_size) output.finish = FinishReason::kLength;
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
  stats_.last_step = now;
}

}  // namespace sluice::engine
