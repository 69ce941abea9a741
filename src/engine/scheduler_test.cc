#include "engine/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

namespace sluice::engine {
namespace {

// A scheduler with the rest of the engine reduced to "every sequence gets token 1".
class Harness {
 public:
  explicit Harness(const SchedulerOptions& options) : scheduler_(options) {}

  Sequence& add(RequestId id, int prompt, int output, int priority = 0, std::string tenant = "") {
    Request request;
    request.id = id;
    // No two prompts share a block, so that the prefix cache plays no part unless meant to.
    for (int i = 0; i < prompt; ++i) request.prompt.push_back(static_cast<int32_t>(id) + 10);
    request.sampling.max_tokens = output;
    request.priority = priority;
    request.tenant = std::move(tenant);
    return scheduler_.add(make_sequence(std::move(request), 1 << 20, {}));
  }

  // One step; returns the rows of each sequence in it.
  std::map<RequestId, int> step() {
    ++steps_;
    std::map<RequestId, int> rows;
    std::vector<Sequence*> complete;
    const Plan& plan = scheduler_.schedule(TimePoint(std::chrono::milliseconds(steps_)));
    for (const PlanEntry& entry : plan.entries) {
      EXPECT_TRUE(rows.emplace(entry.sequence->id, entry.rows).second) << "planned twice";
      if (entry.sequence->remaining() == entry.rows) complete.push_back(entry.sequence);
    }
    preempted_ += plan.preemptions;
    scheduler_.commit();
    for (Sequence* sequence : complete) {
      append_token(*sequence, 1);
      if (sequence->size() < sequence->max_size) continue;
      finished_.push_back(sequence->id);
      scheduler_.remove(*sequence);
    }
    scheduler_.check_integrity();
    return rows;
  }

  void run(int most = 10'000) {
    while (!scheduler_.waiting().empty() || !scheduler_.running().empty()) {
      ASSERT_GT(most--, 0);
      step();
    }
  }

  bool runs(RequestId id) {
    const Sequence* sequence = scheduler_.find(id);
    return sequence != nullptr && sequence->state == SequenceState::kRunning;
  }

  Scheduler& scheduler() { return scheduler_; }
  const std::vector<RequestId>& finished() const { return finished_; }
  int preempted() const { return preempted_; }
  int steps() const { return steps_; }

 private:
  Scheduler scheduler_;
  std::vector<RequestId> finished_;
  int preempted_ = 0;
  int steps_ = 0;
};

SchedulerOptions roomy() {
  SchedulerOptions options;
  options.max_sequences = 8;
  options.max_batched_tokens = 32;
  options.kv_blocks = 1000;
  return options;
}

using Rows = std::map<RequestId, int>;

TEST(Scheduler, ALongPromptDoesNotStallAStream) {
  Harness h(roomy());
  h.add(1, 4, 100);
  EXPECT_EQ(h.step(), (Rows{{1, 4}}));
  h.add(2, 100, 10);
  EXPECT_EQ(h.step(), (Rows{{1, 1}, {2, 31}}));
  EXPECT_EQ(h.step(), (Rows{{1, 1}, {2, 31}}));
  EXPECT_EQ(h.step(), (Rows{{1, 1}, {2, 31}}));
  EXPECT_EQ(h.step(), (Rows{{1, 1}, {2, 7}}));
  EXPECT_EQ(h.step(), (Rows{{1, 1}, {2, 1}}));
}

TEST(Scheduler, TheBudgetIsNeverExceededAndEveryStreamFitsInIt) {
  SchedulerOptions options = roomy();
  options.max_sequences = 100;
  options.max_batched_tokens = 5;
  Harness h(options);
  for (RequestId id = 1; id <= 20; ++id) h.add(id, 3, 9);
  for (int i = 0; i < 60; ++i) {
    int total = 0;
    for (const auto& [id, rows] : h.step()) total += rows;
    EXPECT_LE(total, 5);
    EXPECT_LE(h.scheduler().running().size(), 5u);
  }
  h.run();
  EXPECT_EQ(h.finished().size(), 20u);
}

TEST(Scheduler, UrgentFirstThenFirstComeFirstServed) {
  SchedulerOptions options = roomy();
  options.max_sequences = 1;
  Harness h(options);
  h.add(1, 4, 2, 5);
  h.add(2, 4, 2, 5);
  h.add(3, 4, 2, 0);
  h.add(4, 4, 2, 0);
  h.run();
  EXPECT_EQ(h.finished(), (std::vector<RequestId>{3, 4, 1, 2}));
}

TEST(Scheduler, TenantsOfOnePriorityShareTheRows) {
  SchedulerOptions options = roomy();
  options.max_sequences = 4;
  Harness h(options);
  // One tenant floods the queue before the other one comes.
  RequestId id = 1;
  for (; id <= 60; ++id) h.add(id, 40, 10, 0, "flood");
  for (; id <= 80; ++id) h.add(id, 40, 10, 0, "quiet");
  std::map<std::string, int> rows;
  for (int i = 0; i < 60; ++i) {
    for (const auto& [which, count] : h.step()) rows[which <= 60 ? "flood" : "quiet"] += count;
  }
  EXPECT_NEAR(rows["flood"], rows["quiet"], 100) << "half each, up to two requests' worth";
  EXPECT_GT(rows["quiet"], 300);
}

TEST(Scheduler, ANewcomerPassesALongPromptOfAnotherTenant) {
  Harness h(roomy());
  h.add(1, 3000, 4, 0, "long");
  h.step();
  h.add(2, 8, 1, 0, "short");
  h.step();  // the newcomer starts level with the other; from then on it is behind
  EXPECT_EQ(h.step(), (Rows{{1, 24}, {2, 8}}));
}

TEST(Scheduler, WhenBlocksRunOutTheLeastUrgentLatestGoes) {
  SchedulerOptions options = roomy();
  options.kv_blocks = 12;
  options.block_size = 4;
  Harness h(options);
  h.add(1, 8, 24, 1);
  h.add(2, 8, 24, 0);
  h.add(3, 8, 24, 1);
  while (h.preempted() == 0) h.step();
  EXPECT_TRUE(h.runs(1) && h.runs(2));
  EXPECT_FALSE(h.runs(3));
  EXPECT_GT(h.scheduler().find(3)->output_size(), 0) << "its tokens are kept";
  h.run();
  EXPECT_EQ(h.finished().back(), 3u);
}

TEST(Scheduler, NobodyIsAdmittedOnlyToBePreempted) {
  SchedulerOptions options = roomy();
  options.kv_blocks = 24;
  options.block_size = 4;
  Harness h(options);
  // Two tenants take turns; together the prompts need 26 blocks.
  h.add(1, 64, 2, 0, "a");
  h.add(2, 40, 2, 0, "b");
  h.run();
  EXPECT_EQ(h.preempted(), 0);
  EXPECT_EQ(h.finished(), (std::vector<RequestId>{1, 2}));
}

TEST(Scheduler, AnUrgentRequestTakesThePlaceOfALessUrgentOne) {
  SchedulerOptions options = roomy();
  options.max_sequences = 2;
  Harness h(options);
  h.add(1, 4, 500, 3);
  h.add(2, 4, 500, 3);
  h.step();
  h.add(3, 4, 5, 0);
  h.step();
  EXPECT_TRUE(h.runs(3));
  EXPECT_TRUE(h.runs(1)) << "the older one stays";
  EXPECT_FALSE(h.runs(2));
  h.add(4, 4, 5, 3);
  h.step();
  EXPECT_FALSE(h.runs(4)) << "equal urgency takes nobody's place";
}

TEST(Scheduler, ABigRequestIsNotPassedForEverBySmallOnes) {
  SchedulerOptions options = roomy();
  options.kv_blocks = 10;
  options.block_size = 4;
  Harness h(options);
  h.add(1, 8, 8);
  h.add(2, 8, 8);
  h.step();
  h.add(3, 36, 2);
  for (RequestId id = 4; id < 12; ++id) h.add(id, 4, 4);
  h.run();
  const auto& f = h.finished();
  EXPECT_LT(std::ranges::find(f, RequestId{3}) - f.begin(), 4);
}

// A stream of urgent work that alone fills every slot, and one request that nobody favours.
TEST(Scheduler, NobodyStarvesUnderEndlessUrgentLoad) {
  SchedulerOptions options = roomy();
  options.max_sequences = 4;
  options.max_batched_tokens = 16;
  options.kv_blocks = 40;
  options.block_size = 4;
  Harness h(options);
  RequestId next = 100;
  for (int i = 0; i < 8; ++i) h.add(next++, 12, 20, 0, "busy");
  h.step();
  h.add(1, 60, 30, 1000, "meek");
  int steps = 0;
  while (std::ranges::find(h.finished(), RequestId{1}) == h.finished().end()) {
    while (h.scheduler().waiting().size() < 8) h.add(next++, 12, 20, 0, "busy");
    h.step();
    ASSERT_LT(++steps, 2000);
  }
  // Until it is the oldest: eight others. Then what the header promises.
  EXPECT_LT(steps, 8 * 64 + 16 * (60 + 1) + 30);
}

TEST(Scheduler, TheElderIsNeverPreemptedForOthers) {
  SchedulerOptions options = roomy();
  options.kv_blocks = 10;
  options.block_size = 4;
  options.max_sequences = 3;
  Harness h(options);
  h.add(1, 8, 28, 9);
  h.step();
  for (RequestId id = 2; id < 8; ++id) h.add(id, 8, 12, 0);
  while (h.scheduler().find(1) != nullptr) {
    EXPECT_TRUE(h.runs(1));
    h.step();
  }
  EXPECT_GT(h.preempted(), 0);
}

TEST(Scheduler, PromptLogprobRowsAreBounded) {
  SchedulerOptions options = roomy();
  options.max_prompt_logit_rows = 10;
  Harness h(options);
  h.add(1, 25, 1).sampling.prompt_logprobs = 0;
  h.add(2, 30, 1);
  EXPECT_EQ(h.step(), (Rows{{1, 10}, {2, 22}}));
}

TEST(Scheduler, TheScheduledTimeIsTheLatestAdmission) {
  SchedulerOptions options = roomy();
  options.max_sequences = 2;
  Harness h(options);
  h.add(1, 4, 90, 1);
  const Sequence& second = h.add(2, 4, 90, 1);
  h.step();
  EXPECT_EQ(second.scheduled, TimePoint(std::chrono::milliseconds(1)));
  h.add(3, 4, 3, 0);
  while (h.finished().empty()) h.step();
  h.step();
  EXPECT_TRUE(h.runs(2));
  EXPECT_EQ(second.scheduled, TimePoint(std::chrono::milliseconds(h.steps())));
}

TEST(Scheduler, PromptsBesideStreamsGetWhatTheBudgetSays) {
  SchedulerOptions options = roomy();
  options.max_step_stretch = 1.25;
  Harness h(options);
  const auto machine = [](int rows) { return std::chrono::microseconds(10'000 + 500 * rows); };
  const auto step = [&] {
    const Rows rows = h.step();
    int total = 0;
    for (const auto& [id, count] : rows) total += count;
    h.scheduler().learn(machine(total));
    return rows;
  };
  h.add(1, 4, 300);
  h.add(2, 40, 300);
  for (int i = 0; i < 30; ++i) step();
  h.add(3, 400, 10);
  int longest = 0;
  while (h.scheduler().find(3) != nullptr) {
    const Rows rows = step();
    EXPECT_EQ(rows.at(1), 1);
    EXPECT_EQ(rows.at(2), 1);
    if (const auto at = rows.find(3); at != rows.end()) longest = std::max(longest, at->second);
  }
  // A step of two rows takes 11 ms; a quarter of that is five rows.
  EXPECT_GE(longest, kLeastPromptRows);
  EXPECT_LE(longest, 7);
  h.add(4, 40, 1);
  h.scheduler().remove(*h.scheduler().find(1));
  h.scheduler().remove(*h.scheduler().find(2));
  EXPECT_EQ(step(), (Rows{{4, 32}})) << "without streams a step takes all";
}

TEST(Scheduler, APromptThatFindsAPlaceInAFullBatchIsBoundedToo) {
  SchedulerOptions options = roomy();
  options.max_sequences = 2;
  options.max_step_stretch = 1.25;
  Harness h(options);
  const auto step = [&] {
    const Rows rows = h.step();
    int total = 0;
    for (const auto& [id, count] : rows) total += count;
    h.scheduler().learn(std::chrono::microseconds(10'000 + 500 * total));
    return rows;
  };
  h.add(1, 4, 300);
  h.add(2, 4, 40);
  for (int i = 0; i < 20; ++i) step();
  h.add(3, 200, 10);
  h.add(4, 200, 10, -1);  // takes the place of 2
  int longest = 0;
  while (h.scheduler().find(3) != nullptr) {
    for (const auto& [id, rows] : step()) longest = id > 2 ? std::max(longest, rows) : longest;
  }
  EXPECT_GE(longest, kLeastPromptRows);
  EXPECT_LE(longest, 7);
}

// One stream whose text repeats itself, beside whatever else the scheduler has. Its drafts are
// always refused.
class StreamWithDrafts {
 public:
  StreamWithDrafts(Scheduler& scheduler, int prompt, int output) : scheduler_(scheduler) {
    Request request;
    request.id = 1;
    request.prompt.assign(size_t(prompt), 3);
    request.sampling.max_tokens = output;
    stream_ = &scheduler.add(make_sequence(request, 1 << 20, {}));
  }

  const Sequence& sequence() const { return *stream_; }

  // Returns the number of its draft rows.
  int step() {
    const Plan& plan = scheduler_.schedule({});
    preemptions += plan.preemptions;
    scheduler_.commit();
    int drafts = 0;
    for (const PlanEntry& entry : plan.entries) {
      if (entry.drafts > 0) scheduler_.settle(*entry.sequence, 0);
      drafts += entry.drafts;
    }
    if (stream_->remaining() == 0) append_token(*stream_, 3);
    scheduler_.learn(std::chrono::milliseconds(1));
    scheduler_.check_integrity();
    return drafts;
  }

  int preemptions = 0;

 private:
  Scheduler& scheduler_;
  Sequence* stream_ = nullptr;
};

Request distinct_prompt(RequestId id, int size) {
  Request request;
  request.id = id;
  for (int i = 0; i < size; ++i) request.prompt.push_back(100 + i);
  request.sampling.max_tokens = 1;
  return request;
}

TEST(Scheduler, DraftsLeaveAPromptUnderWayItsBlocks) {
  SchedulerOptions options;
  options.max_sequences = 2;
  options.max_batched_tokens = 14;
  options.block_size = 4;
  options.kv_blocks = 8;
  options.speculation = {.max_draft = 8, .lookup_min = 1};
  Scheduler scheduler(options);
  StreamWithDrafts stream(scheduler, 3, 17);
  int drafts = 0;
  while (drafts == 0 && stream.sequence().size() < 9) drafts += stream.step();
  ASSERT_GT(drafts, 0);
  const Sequence& prompt = scheduler.add(make_sequence(distinct_prompt(2, 20), 1 << 20, {}));
  while (prompt.remaining() > 0 && stream.sequence().size() < 12) drafts += stream.step();
  EXPECT_EQ(prompt.remaining(), 0);
  EXPECT_EQ(stream.preemptions, 0);
}

TEST(Scheduler, DraftsEvictOnlyWhatTheirSequenceIsAboutToTake) {
  SchedulerOptions options;
  options.max_batched_tokens = 64;
  options.block_size = 4;
  options.kv_blocks = 12;
  options.speculation = {.max_draft = 8, .lookup_min = 1};
  Scheduler scheduler(options);
  Sequence& first = scheduler.add(make_sequence(distinct_prompt(2, 40), 1 << 20, {}));
  scheduler.schedule({});
  scheduler.commit();
  scheduler.remove(first);
  ASSERT_EQ(scheduler.pool().cached_count(), 10);
  StreamWithDrafts stream(scheduler, 7, 30);
  int drafts = 0;
  while (stream.sequence().size() < 30) {
    drafts += stream.step();
    const int used = (stream.sequence().computed + 3) / 4;
    EXPECT_LE(10 - scheduler.pool().cached_count(), std::max(0, used - 2) + 1);
  }
  EXPECT_GT(drafts, 20);
}

TEST(Scheduler, DraftsTakeNoBlockFromOthers) {
  SchedulerOptions options = roomy();
  options.block_size = 4;
  options.kv_blocks = 5;
  options.speculation = {.max_draft = 8, .lookup_min = 1};
  Scheduler scheduler(options);
  Request request;
  request.id = 1;
  request.prompt.assign(7, 3);  // repeats itself
  request.sampling.max_tokens = 13;
  Sequence& sequence = scheduler.add(make_sequence(request, 1 << 20, {}));
  int drafted = 0;
  while (sequence.size() < sequence.max_size) {
    const Plan& plan = scheduler.schedule({});
    ASSERT_EQ(plan.entries.size(), 1u);
    const PlanEntry entry = plan.entries.front();
    EXPECT_LE(std::ssize(sequence.blocks), 5);
    EXPECT_LT(sequence.size() + entry.drafts, sequence.max_size);
    scheduler.commit();
    // A step's time does not depend on its rows; every other draft row is right.
    const int right = entry.drafts / 2;
    for (int i = 0; i <= right; ++i) {
      check_draft(sequence, 3);
      append_token(sequence, 3);
    }
    if (entry.drafts > 0) scheduler.settle(sequence, right);
    scheduler.learn(std::chrono::milliseconds(1));
    scheduler.check_integrity();
    drafted += entry.drafts;
  }
  EXPECT_GT(drafted, 8);
  EXPECT_EQ(scheduler.pool().held_count(), 5);
}

}  // namespace
}  // namespace sluice::engine
