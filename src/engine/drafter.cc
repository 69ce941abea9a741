#include "engine/drafter.h"

#include <algorithm>
#include <atomic>
#include <utility>

#include "base/check.h"
#include "engine/logit_rules.h"

namespace sluice::engine {
namespace {

// Rows that the draft model may be behind and still draft in this step.
constexpr int kNear = 8;
// Catching up may stretch a step by this share, and has at least so many rows.
constexpr double kCatchUpShare = 0.25;
constexpr int kLeastCatchUp = 64;
// Expected tokens per second must rise by this much, or the estimate's own error would decide.
constexpr double kLeastGain = 1.03;
// In each step without drafts a sequence's trust goes so far towards what nothing is known of:
// after some dozens of steps it is tried again.
constexpr double kForgetting = 0.005;
constexpr double kUnknownTrust = 0.5;
// How much the trust in one sequence's drafts says of the next one's.
constexpr double kUsualRate = 0.02;
// The depth of the first drafts, from which costs are learned; the very first passes touch memory
// that no later one has to wait for.
constexpr int kFirstDepth = 2;
constexpr int kColdPasses = 2;
// Costs are learned by drafting only: after so many steps without, and twice as many the next time,
// one token is drafted whatever they say, and they are forgotten.
constexpr int kFirstPatience = 32;
constexpr int kMostPatience = 256;
// Below any logit, and finite after any temperature.
constexpr float kNoToken = -1e30F;

}  // namespace

Drafter::Drafter(const DraftSource& source, const SpeculationOptions& options, int vocab,
                 std::span<const int32_t> end_tokens, ThreadTeam* team, const Clock& clock)
    : source_(source),
      options_(options),
      vocab_(vocab),
      end_tokens_(end_tokens),
      team_(team),
      clock_(clock),
      pool_(static_cast<int32_t>(source.kv_blocks)),
      patience_(kFirstPatience),
      samplers_(size_t(team == nullptr ? 1 : team->size()), Sampler(end_tokens)) {
  SLUICE_CHECK(source.runner != nullptr && source.block_size > 0 && source.max_rows > 0,
               "a draft model has a cache and takes rows");
  if (source.runner->vocab() < vocab) widened_.resize(samplers_.size());
}

// Tokens that may be drafted: the last one of a sequence is sampled behind the draft.
int Drafter::room(const Sequence& sequence) const {
  return std::min({options_.max_draft, sequence.max_size - sequence.size() - 1,
                   source_.max_context - sequence.size()});
}

void Drafter::propose(std::span<Sequence* const> running, const StepCost& cost) {
  ++round_;
  find_candidates(running);
  forget_others();
  StepShape base;
  int streams = 0;
  for (const Sequence* sequence : running) {
    if (!sequence->streams()) continue;
    ++streams;
    base = base.plus(1, sequence->size());
  }
  if (candidates_.empty() || streams > options_.max_streams || !cost.known()) return;
  std::ranges::sort(candidates_, [](const Candidate& a, const Candidate& b) {
    return std::pair(-a.sequence->draft_trust, a.sequence->arrival) <
           std::pair(-b.sequence->draft_trust, b.sequence->arrival);
  });
  Choice choice = choose(base, cost);
  if (choice.depth > 0) {
    patience_ = kFirstPatience;
    idle_steps_ = 0;
  } else if (++idle_steps_ >= patience_) {
    patience_ = std::min(2 * patience_, kMostPatience);
    idle_steps_ = 0;
    choice = {1, 1};
    cost_ = StepCost();
  }
  for (size_t i = choice.count; i < candidates_.size(); ++i) {
    double& trust = candidates_[i].sequence->draft_trust;
    trust += kForgetting * (kUnknownTrust - trust);
  }
  candidates_.resize(choice.count);
  if (choice.depth == 0) return;
  for (const Candidate& c : candidates_) {
    usual_trust_ += kUsualRate * (c.sequence->draft_trust - usual_trust_);
  }
  const TimePoint begin = clock_.now();
  catch_up(cost.predict(base) * kCatchUpShare);
  draft(choice.depth);
  spent_ += clock_.now() - begin;
}

// Of a sequence that runs: what was guessed and did not come is dropped.
Drafter::Follower& Drafter::follow(const Sequence& sequence) {
  const auto [at, fresh] = followers_.try_emplace(sequence.arrival);
  Follower& f = at->second;
  std::vector<int32_t>& tokens = f.shadow.tokens;
  if (fresh) {
    f.shadow.sampling = sequence.sampling;
    f.shadow.sampling.logprobs = -1;
    f.shadow.prompt_size = sequence.prompt_size;
    f.shadow.resumed_size = sequence.resumed_size;
    f.shadow.max_size = sequence.max_size;
  }
  auto same = static_cast<size_t>(f.known);
  while (same < tokens.size() && same < sequence.tokens.size() &&
         tokens[same] == sequence.tokens[same]) {
    ++same;
  }
  tokens.resize(same);
  tokens.insert(tokens.end(), sequence.tokens.begin() + static_cast<ptrdiff_t>(same),
                sequence.tokens.end());
  const auto unknown = [&](int32_t token) { return token >= source_.runner->vocab(); };
  f.barred = f.barred || std::any_of(tokens.begin() + f.known, tokens.end(), unknown);
  f.shadow.counts = sequence.counts;
  f.known = sequence.size();
  // The last token is computed anyway: its logits give the next one.
  f.computed = std::min({f.computed, static_cast<int>(same), f.known - 1});
  f.done = false;
  return f;
}

void Drafter::find_candidates(std::span<Sequence* const> running) {
  candidates_.clear();
  for (Sequence* sequence : running) {
    if (!sequence->streams()) continue;
    const auto at = followers_.find(sequence->arrival);
    if (at != followers_.end()) at->second.seen = round_;
    if (!sequence->draft.empty() || room(*sequence) <= 0) continue;
    if (at == followers_.end()) sequence->draft_trust = usual_trust_;
    Follower& follower = follow(*sequence);
    follower.seen = round_;
    if (!follower.barred) candidates_.push_back({sequence, &follower});
  }
}

// Those that ended, and those that were preempted.
void Drafter::forget_others() {
  for (auto at = followers_.begin(); at != followers_.end();) {
    if (at->second.seen == round_) {
      ++at;
      continue;
    }
    for (const int32_t block : at->second.blocks) pool_.release(block);
    at = followers_.erase(at);
  }
}

// The depth, and the number of those trusted most, that raise the tokens expected per second most.
Drafter::Choice Drafter::choose(const StepShape& base, const StepCost& cost) const {
  const int deepest = options_.max_draft;
  if (!cost_.known()) return {std::min(kFirstDepth, deepest), candidates_.size()};
  const int64_t context = base.context / base.rows;
  Choice choice;
  double best = base.rows / cost.predict(base) * kLeastGain;
  std::vector<double> gains(candidates_.size(), 0.0);  // of each candidate, down to `depth`
  std::vector<double> last(candidates_.size(), 1.0);
  for (int depth = 1; depth <= deepest; ++depth) {
    double tokens = base.rows;
    for (size_t i = 0; i < candidates_.size(); ++i) {
      last[i] *= candidates_[i].sequence->draft_trust;
      gains[i] += last[i];
      tokens += gains[i];
      const int streams = static_cast<int>(i) + 1;
      const double pass = cost_.predict(StepShape{}.plus(streams, context));
      const double time = cost.predict(base.plus(streams * depth, context)) + depth * pass;
      if (tokens / time <= best) continue;
      best = tokens / time;
      choice = {depth, i + 1};
    }
  }
  return choice;
}

// Gives the follower blocks for its first `positions`; false when there are not enough.
bool Drafter::grow(Follower& follower, int positions) {
  const int wanted = (positions + source_.block_size - 1) / source_.block_size;
  if (wanted - static_cast<int>(follower.blocks.size()) > pool_.free_count()) return false;
  while (static_cast<int>(follower.blocks.size()) < wanted) {
    follower.blocks.push_back(pool_.allocate());
  }
  return true;
}

// Computes what candidates are far behind, for at most so many seconds; who stays far behind is no
// candidate any more.
void Drafter::catch_up(double seconds) {
  int budget = kLeastCatchUp;
  while (catch_up_cost_.known() && budget < source_.max_rows &&
         catch_up_cost_.predict({.rows = 2 * budget, .context = 0}) <= seconds) {
    budget *= 2;
  }
  budget = std::min(budget, source_.max_rows);
  batch_.clear();
  shape_ = {};
  active_.clear();
  for (Candidate& c : candidates_) {
    Follower& f = *c.follower;
    if (f.known - f.computed <= kNear) continue;
    const int rows = std::min(f.known - f.computed - 1, budget);
    f.done = !grow(f, f.computed + rows) || rows < f.known - f.computed - kNear;
    if (rows <= 0 || std::ssize(f.blocks) * source_.block_size < f.computed + rows) continue;
    const auto first_row = static_cast<int>(batch_.tokens.size());
    const auto from = f.shadow.tokens.begin() + f.computed;
    batch_.tokens.insert(batch_.tokens.end(), from, from + rows);
    batch_.slices.push_back(
        {.first_row = first_row, .rows = rows, .first_position = f.computed, .blocks = f.blocks});
    shape_ = shape_.plus(rows, f.computed + rows / 2);
    f.computed += rows;
    budget -= rows;
  }
  run(catch_up_cost_);
  std::erase_if(candidates_, [](const Candidate& c) { return c.follower->done; });
}

// One token for each candidate, and another one, …
void Drafter::draft(int depth) {
  for (int i = 0; i < depth; ++i) {
    batch_.clear();
    shape_ = {};
    active_.clear();
    for (Candidate& c : candidates_) {
      Follower& f = *c.follower;
      const int rows = f.shadow.size() - f.computed;
      const auto first_row = static_cast<int>(batch_.tokens.size());
      f.done = f.done || i >= room(*c.sequence) || first_row + rows > source_.max_rows ||
               !grow(f, f.shadow.size());
      if (f.done) continue;
      const auto from = f.shadow.tokens.begin() + f.computed;
      batch_.tokens.insert(batch_.tokens.end(), from, from + rows);
      batch_.slices.push_back(
          {.first_row = first_row, .rows = rows, .first_position = f.computed, .blocks = f.blocks});
      batch_.output_rows.push_back(first_row + rows - 1);
      shape_ = shape_.plus(rows, f.shadow.size());
      f.computed += rows;
      active_.push_back(&f);
    }
    if (active_.empty()) break;
    run(cost_);
    guess();
  }
  for (Candidate& c : candidates_) {
    const Follower& f = *c.follower;
    c.sequence->draft.assign(f.shadow.tokens.begin() + f.known, f.shadow.tokens.end());
  }
}

void Drafter::run(StepCost& cost) {
  if (batch_.tokens.empty()) return;
  const size_t needed = batch_.output_rows.size() * size_t(source_.runner->vocab());
  if (logits_.size() < needed) logits_.resize(needed);
  const TimePoint begin = clock_.now();
  source_.runner->forward(batch_, std::span(logits_).first(needed));
  if (cold_passes_ < kColdPasses) {
    ++cold_passes_;
    return;
  }
  cost.learn(shape_, clock_.now() - begin);
}

// As wide as the vocabulary drafted for.
std::span<const float> Drafter::logits_of(size_t row, std::vector<float>& scratch) const {
  const auto width = static_cast<size_t>(source_.runner->vocab());
  const auto logits = std::span(logits_).subspan(row * width, width);
  if (width >= size_t(vocab_)) return logits.first(size_t(vocab_));
  scratch.assign(size_t(vocab_), kNoToken);
  std::ranges::copy(logits, scratch.begin());
  return scratch;
}

// A token for each active follower from its row of logits. One without a token has no more.
void Drafter::guess() {
  const auto guess_one = [&](size_t i, size_t member) {
    Follower& f = *active_[i];
    std::vector<float> none;
    auto& scratch = widened_.empty() ? none : widened_[member];
    const auto token = samplers_[member].sample(f.shadow, logits_of(i, scratch));
    if (!token || ends_sequence(f.shadow, end_tokens_, token->token)) {
      f.done = true;
    } else {
      append_token(f.shadow, token->token);
    }
  };
  if (samplers_.size() < 2 || active_.size() < 2) {
    for (size_t i = 0; i < active_.size(); ++i) guess_one(i, 0);
    return;
  }
  std::atomic<size_t> next{0};
  team_->run([&](int member) {
    for (size_t i = next.fetch_add(1); i < active_.size(); i = next.fetch_add(1)) {
      guess_one(i, size_t(member));
    }
  });
}

}  // namespace sluice::engine
