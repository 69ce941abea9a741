#include "engine/speculation.h"

#include <algorithm>
#include <tuple>

namespace sluice::engine {
namespace {

// How much one draft token says about the next.
constexpr double kLearning = 0.15;
// Expected tokens per second must rise by this much, or the estimate's own error would decide.
constexpr double kLeastGain = 1.03;
// How far back a match is looked for.
constexpr size_t kFarthest = size_t{1} << 17;

// Tokens that `tokens[.. end)` and `tokens[.. at)` end with alike, at most `most`.
int common_end(std::span<const int32_t> tokens, size_t at, int most) {
  const size_t end = tokens.size();
  int common = 0;
  while (common < most && size_t(common) < at &&
         tokens[at - 1 - size_t(common)] == tokens[end - 1 - size_t(common)]) {
    ++common;
  }
  return common;
}

}  // namespace

std::vector<int32_t> look_up_draft(std::span<const int32_t> tokens,
                                   const SpeculationOptions& options, int count) {
  std::vector<int32_t> draft;
  if (tokens.size() < 2 || count <= 0) return draft;
  const int32_t last = tokens.back();
  int longest = options.lookup_min - 1;
  size_t found = 0;  // the draft begins here
  const size_t nearest = tokens.size() - 1;
  const size_t farthest = nearest > kFarthest ? nearest - kFarthest : 0;
  for (size_t at = nearest; at > farthest && longest < options.lookup_max; --at) {
    if (tokens[at - 1] != last) continue;
    const int common = common_end(tokens, at, options.lookup_max);
    if (common <= longest) continue;
    longest = common;
    found = at;
  }
  if (found == 0) return draft;
  draft.reserve(size_t(count));
  for (size_t i = found; draft.size() < size_t(count); ++i) {
    draft.push_back(i < tokens.size() ? tokens[i] : draft[i - tokens.size()]);
  }
  return draft;
}

void check_draft(Sequence& sequence, int32_t token) {
  if (sequence.draft.empty()) return;
  const bool right = sequence.draft.front() == token;
  sequence.draft_trust += kLearning * ((right ? 1.0 : 0.0) - sequence.draft_trust);
  if (right) {
    sequence.draft.erase(sequence.draft.begin());
  } else {
    sequence.draft.clear();
  }
}

void DraftPlanner::find_draft(Sequence& sequence) const {
  // The last token is sampled from a row of its own, behind the draft.
  const int room = sequence.max_size - sequence.size() - 1;
  const int count = std::min(options_.max_draft, room);
  if (std::ssize(sequence.draft) > std::max(count, 0)) {
    sequence.draft.resize(size_t(std::max(count, 0)));
  }
  if (!sequence.draft.empty() || count <= 0) return;
  if (options_.method != DraftMethod::kNgram) return;
  sequence.draft = look_up_draft(sequence.tokens, options_, count);
}

void DraftPlanner::plan(std::span<Sequence* const> streams, const StepShape& base,
                        const StepCost& cost, int most) {
  rows_.clear();
  for (Sequence* sequence : streams) sequence->draft_rows = 0;
  if (!enabled() || std::ssize(streams) > options_.max_streams) return;
  for (Sequence* sequence : streams) {
    find_draft(*sequence);
    double gain = 1.0;
    for (int depth = 1; depth <= static_cast<int>(sequence->draft.size()); ++depth) {
      gain *= sequence->draft_trust;
      rows_.push_back({.gain = gain, .sequence = sequence, .depth = depth});
    }
  }
  if (most <= 0 || rows_.empty() || !cost.known()) return;
  // A sequence's gains fall with depth, so that any start of the order is a start of each draft.
  std::ranges::sort(rows_, [](const Row& a, const Row& b) {
    return std::tuple(-a.gain, a.sequence->arrival, a.depth) <
           std::tuple(-b.gain, b.sequence->arrival, b.depth);
  });
  const auto count = std::min(rows_.size(), size_t(most));
  const int64_t context = base.rows > 0 ? base.context / base.rows : 0;
  auto tokens = static_cast<double>(streams.size());
  double best = tokens / cost.predict(base) * kLeastGain;
  size_t chosen = 0;
  for (size_t i = 0; i < count; ++i) {
    tokens += rows_[i].gain;
    const double rate = tokens / cost.predict(base.plus(static_cast<int>(i) + 1, context));
    if (rate <= best) continue;
    best = rate;
    chosen = i + 1;
  }
  for (const Row& row : std::span(rows_).first(chosen)) row.sequence->draft_rows = row.depth;
}

}  // namespace sluice::engine
