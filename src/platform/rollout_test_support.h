// A rollout in a world that tests make: which revisions are ready, what their figures are, what
// time it is.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "platform/parts_test_support.h"
#include "platform/rollout.h"

namespace sluice::platform {

inline RolloutPolicy policy_of(std::string_view spec) { return rollout_policy(parsed(spec)); }

class RolloutTest : public testing::Test {
 protected:
  static RolloutFigures good() {
    return {.requests = 100,
            .errors = 0,
            .ttft_p95_ms = 50,
            .latency_p95_ms = 400,
            .tokens_second = 40};
  }

  void exists(const std::string& name, bool ready = true) {
    const auto found = std::ranges::find(input_.revisions, name, &RevisionState::name);
    if (found == input_.revisions.end()) {
      input_.revisions.push_back({.name = name, .ready = ready});
    } else {
      found->ready = ready;
    }
  }

  RolloutDecision run() {
    input_.now = now_;
    input_.figures = [this](const std::string& revision, double from, double to) {
      asked_.emplace_back(from, to);
      return figures_.contains(revision) ? figures_[revision] : good();
    };
    RolloutDecision decision = step(rollout_, policy_, input_);
    for (const RolloutNote& note : decision.notes) notes_.push_back(note.reason);
    // Whatever the state is: it survives being written down.
    EXPECT_TRUE(rollout_from_json(to_json(rollout_)) == rollout_)
        << json::serialize(to_json(rollout_));
    return decision;
  }
  RolloutDecision after(double seconds) {
    now_ += seconds;
    return run();
  }

  // v1 is the stable revision, v2 the latest.
  void upgrade(std::string_view spec) {
    exists("v1");
    input_.latest = "v1";
    run();
    policy_ = policy_of(spec);
    exists("v2", false);
    input_.latest = "v2";
    run();
    notes_.clear();
  }

  static std::string shown(const std::vector<RevisionWeight>& weights) {
    std::string text;
    for (const RevisionWeight& each : weights) {
      text += (text.empty() ? "" : " ") + each.revision + ":" + std::to_string(each.percent);
    }
    return text;
  }

  double now_ = 1000;
  Rollout rollout_;
  RolloutPolicy policy_;
  RolloutInput input_;
  std::map<std::string, RolloutFigures> figures_;
  std::vector<std::pair<double, double>> asked_;
  std::vector<std::string> notes_;
};

inline constexpr std::string_view kProgressive =
    R"({"sluice":{"rollout":{"strategy":"Progressive",
        "steps":[{"weight":20,"pauseSeconds":10},{"weight":60,"pauseSeconds":10}],
        "analysis":{"intervalSeconds":5,"failureLimit":2,"minRequests":10,"maxErrorRate":0.02}}}})";

}  // namespace sluice::platform
