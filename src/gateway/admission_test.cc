#include "gateway/admission.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace sluice::gateway {
namespace {

// Asks, and keeps what is granted.
struct Line {
  explicit Line(plan::Queue settings) : admission(std::make_shared<Admission>(settings)) {}
  ~Line() { closing = true; }

  Result<uint64_t> ask(const std::string& name, Admission::Asker asker) {
    return admission->ask(asker, [this, name](Admission::Permit permit) {
      if (closing) return;
      order.push_back(name);
      permits.push_back(std::move(permit));
    });
  }
  // Whoever came in first leaves, so often.
  void leave(int times) {
    for (int i = 0; i < times; ++i) {
      Admission::Permit gone = std::move(permits.front());
      permits.erase(permits.begin());
    }
  }

  bool closing = false;
  std::vector<std::string> order;
  std::vector<Admission::Permit> permits;
  std::shared_ptr<Admission> admission;
};

TEST(Admission, UnlimitedLetsEverybodyIn) {
  Line line({});
  for (int i = 0; i < 100; ++i) EXPECT_EQ(*line.ask("a", {.tenant = "t"}), 0u);
  EXPECT_EQ(line.admission->running(), 100);
  line.permits.clear();
  EXPECT_EQ(line.admission->running(), 0);
}

TEST(Admission, TheQueueIsBounded) {
  Line line({.max_concurrent = 1, .max_waiting = 2});
  EXPECT_EQ(*line.ask("a", {.tenant = "t"}), 0u);
  EXPECT_GT(*line.ask("b", {.tenant = "t"}), 0u);
  EXPECT_GT(*line.ask("c", {.tenant = "t"}), 0u);
  const auto full = line.ask("d", {.tenant = "t"});
  ASSERT_FALSE(full);
  EXPECT_EQ(full.error().code(), Code::kResourceExhausted);
  line.leave(1);
  EXPECT_EQ(line.order, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(line.admission->waiting(), 1);
}

TEST(Admission, PriorityThenFairShareThenArrival) {
  Line line({.max_concurrent = 1, .max_waiting = 100});
  static_cast<void>(line.ask("first", {.tenant = "x"}));
  for (int i = 0; i < 4; ++i) static_cast<void>(line.ask("greedy", {.tenant = "g"}));
  for (int i = 0; i < 2; ++i) static_cast<void>(line.ask("modest", {.tenant = "m"}));
  static_cast<void>(line.ask("urgent", {.tenant = "u", .priority = 1}));
  line.leave(8);
  EXPECT_EQ(line.order, (std::vector<std::string>{"first", "urgent", "greedy", "modest", "greedy",
                                                  "modest", "greedy", "greedy"}));
}

TEST(Admission, WeightsShareThePlaces) {
  Line line({.max_concurrent = 1, .max_waiting = 1000});
  static_cast<void>(line.ask("first", {.tenant = "x"}));
  for (int i = 0; i < 90; ++i) {
    static_cast<void>(line.ask("three", {.tenant = "a", .weight = 3}));
    static_cast<void>(line.ask("one", {.tenant = "b", .weight = 1}));
  }
  line.leave(40);
  EXPECT_NEAR(std::ranges::count(line.order, "three"), 30, 1);
}

TEST(Admission, WhoeverWithdrawsIsNotLetIn) {
  Line line({.max_concurrent = 1, .max_waiting = 10});
  static_cast<void>(line.ask("a", {.tenant = "t"}));
  const uint64_t ticket = *line.ask("b", {.tenant = "t"});
  static_cast<void>(line.ask("c", {.tenant = "t"}));
  EXPECT_TRUE(line.admission->withdraw(ticket));
  EXPECT_FALSE(line.admission->withdraw(ticket));
  line.leave(1);
  EXPECT_EQ(line.order, (std::vector<std::string>{"a", "c"}));
}

TEST(Admission, AReloadMayMakeRoom) {
  Line line({.max_concurrent = 1, .max_waiting = 10});
  for (const char* name : {"a", "b", "c"}) static_cast<void>(line.ask(name, {.tenant = "t"}));
  line.admission->configure({.max_concurrent = 2, .max_waiting = 10});
  EXPECT_EQ(line.admission->running(), 2);
  line.admission->configure({});
  EXPECT_EQ(line.admission->running(), 3);
  EXPECT_EQ(line.admission->waiting(), 0);
}

}  // namespace
}  // namespace sluice::gateway
