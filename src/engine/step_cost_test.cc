#include "engine/step_cost.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"

namespace sluice::engine {
namespace {

Duration seconds(double s) {
  return std::chrono::duration_cast<Duration>(std::chrono::duration<double>(s));
}

// A machine that waits for weights up to 16 rows and computes beyond, with attention on top.
double machine(const StepShape& step) {
  return std::max(0.016, 0.001 * step.rows) + 2e-8 * static_cast<double>(step.context);
}

TEST(StepCost, KnowsNothingBeforeTheFirstStep) {
  StepCost cost;
  EXPECT_FALSE(cost.known());
  EXPECT_EQ(cost.predict({8, 100}), 0.0);
  cost.learn({0, 0}, seconds(1));
  cost.learn({8, 100}, {});
  EXPECT_FALSE(cost.known());
  cost.learn({8, 100}, seconds(0.02));
  EXPECT_TRUE(cost.known());
}

TEST(StepCost, LearnsWhereTheMachineBends) {
  StepCost cost;
  Rng rng(1);
  for (int i = 0; i < 2000; ++i) {
    const int rows = static_cast<int>(rng.chance(0.5) ? rng.between(1, 24) : rng.between(25, 512));
    const StepShape step{rows, rows * rng.between(0, 300)};
    cost.learn(step, seconds(machine(step) * (0.97 + 0.06 * rng.uniform())));
  }
  for (const int rows : {1, 4, 8, 14, 24, 40, 100, 300, 500}) {
    const StepShape step{rows, rows * 100};
    EXPECT_NEAR(cost.predict(step) / machine(step), 1.0, 0.12) << rows;
  }
}

TEST(StepCost, IsUsableAfterTwoSizes) {
  StepCost cost;
  cost.learn({512, 512 * 256}, seconds(0.5));
  cost.learn({8, 8 * 512}, seconds(0.018));
  const double slope = (cost.predict({108, 0}) - cost.predict({8, 0})) / 100;
  EXPECT_NEAR(slope, (0.5 - 0.018) / 504, 1e-5);
  EXPECT_GT(cost.predict({1024, 0}), cost.predict({512, 0}) * 1.2) << "beyond what was seen";
  EXPECT_LT(cost.predict({2, 0}), cost.predict({8, 0}));
}

TEST(StepCost, NeverFallsAsRowsGrow) {
  StepCost cost;
  Rng rng(3);
  for (int i = 0; i < 300; ++i) {
    const int rows = static_cast<int>(rng.between(1, 700));
    cost.learn({rows, rows * 50}, seconds(0.01 * (0.5 + rng.uniform())));
  }
  for (int rows = 1; rows < 2000; ++rows) {
    EXPECT_LE(cost.predict({rows, 0}), cost.predict({rows + 1, 0}) + 1e-12) << rows;
    EXPECT_LE(cost.predict({rows, 0}), cost.predict({rows, 1000})) << rows;
  }
}

TEST(StepCost, OneDisturbedStepMovesItLittleALastingChangeAllTheWay) {
  StepCost cost;
  for (int i = 0; i < 50; ++i) cost.learn({8, 800}, seconds(0.02));
  cost.learn({8, 800}, seconds(2.0));
  EXPECT_LT(cost.predict({8, 800}), 0.022);
  for (int i = 0; i < 60; ++i) cost.learn({8, 800}, seconds(0.04));
  EXPECT_NEAR(cost.predict({8, 800}), 0.04, 0.002);
}

TEST(StepCost, ASmallStepThatWasHeldUpOnceDoesNotStandForLargerOnes) {
  StepCost cost;
  cost.learn({1, 20}, seconds(0.11));  // the first one of all
  for (int i = 0; i < 20; ++i) cost.learn({8, 800}, seconds(0.02));
  EXPECT_NEAR(cost.predict({8, 800}), 0.02, 0.001);
  EXPECT_LE(cost.predict({1, 20}), 0.021);
  EXPECT_GT(cost.predict({1, 20}), 0.01);
  // Also after many: the machine was slow then.
  for (int i = 0; i < 50; ++i) cost.learn({4, 400}, seconds(0.04));
  for (int i = 0; i < 20; ++i) cost.learn({8, 800}, seconds(0.02));
  EXPECT_NEAR(cost.predict({8, 800}), 0.02, 0.001);
  EXPECT_LE(cost.predict({4, 400}), 0.021);
  EXPECT_GT(cost.predict({4, 400}), 0.01);
  // A size that is new and quick draws the others down with it, and is not driven to nothing.
  for (int i = 0; i < 50; ++i) cost.learn({24, 2400}, seconds(0.06));
  for (int i = 0; i < 40; ++i) {
    cost.learn({32, 3200}, seconds(0.03));
    EXPECT_GT(cost.predict({32, 3200}), 0.029) << i;
  }
  EXPECT_NEAR(cost.predict({32, 3200}), 0.03, 0.002);
}

TEST(StepCost, KnowsWhatIsNearToWhatItSaw) {
  StepCost cost;
  EXPECT_FALSE(cost.known_at(1));
  cost.learn({1, 0}, seconds(0.1));
  cost.learn({512, 131'072}, seconds(0.35));
  for (const int rows : {1, 2, 256, 1024}) EXPECT_TRUE(cost.known_at(rows)) << rows;
  for (const int rows : {3, 8, 255, 1025}) EXPECT_FALSE(cost.known_at(rows)) << rows;
}

TEST(StepCost, LongContextsAreBlamedOnAttention) {
  StepCost cost;
  Rng rng(5);
  for (int i = 0; i < 3000; ++i) {
    const StepShape step{8, 8 * rng.between(100, 16000)};
    cost.learn(step, seconds(machine(step)));
  }
  const StepShape at_start{8, 8 * 500};
  const StepShape late{8, 8 * 16000};
  EXPECT_NEAR(cost.predict(late) - cost.predict(at_start), machine(late) - machine(at_start), 8e-4);
}

}  // namespace
}  // namespace sluice::engine
