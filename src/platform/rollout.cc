#include "platform/rollout.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "platform/load_book.h"
#include "platform/rollout_analysis.h"

namespace sluice::platform {
namespace {

constexpr int kWhole = 100;

class Machine {
 public:
  Machine(Rollout& rollout, const RolloutPolicy& policy, const RolloutInput& input)
      : r_(rollout), policy_(policy), in_(input) {}

  RolloutDecision run() {
    drop_missing();
    // A command stands for as long as nobody takes it away, and counts once.
    const bool same =
        in_.command.action == RolloutAction::kPromote && in_.command.id() == r_.obeyed;
    if (!same) r_.obeyed.clear();
    settle_candidate();
    obey();
    give_up_recreated();
    if (in_.stopped) {
      r_.since = 0;  // it waits anew when it goes on
    } else if (!r_.candidate.empty()) {
      if (r_.since == 0) r_.since = in_.now;
      go_on();
    }
    decide_weights();
    decide_capacity();
    return std::move(out_);
  }

 private:
  const RevisionState* find(const std::string& name) const {
    const auto found = std::ranges::find(in_.revisions, name, &RevisionState::name);
    return name.empty() || found == in_.revisions.end() ? nullptr : &*found;
  }
  bool ready(const std::string& name) const {
    const RevisionState* found = find(name);
    return found != nullptr && found->ready;
  }

  void note(bool warning, std::string reason, std::string message) {
    out_.notes.push_back({warning, std::move(reason), std::move(message)});
  }

  void say(RolloutPhase phase, std::string reason, std::string message) {
    r_.phase = phase;
    r_.reason = std::move(reason);
    r_.message = std::move(message);
  }

  void drop_missing() {
    for (std::string* name : {&r_.stable, &r_.previous, &r_.candidate}) {
      if (find(*name) == nullptr) name->clear();
    }
    if (r_.candidate.empty()) leave();
  }

  void settle_candidate() {
    if (in_.latest.empty() || find(in_.latest) == nullptr) return;
    if (is_told(r_.failed)) r_.failed.clear();  // somebody knows better
    const bool is_failed = in_.latest == r_.failed && !r_.stable.empty();
    if (!is_failed && !r_.failed.empty()) {
      r_.failed.clear();
      say(RolloutPhase::kIdle, "", "");
    }
    if (is_failed) return leave();
    if (in_.latest == r_.stable) {
      if (!r_.candidate.empty()) {
        note(false, "RolloutAbandoned",
             fmt::format("{} is what is wanted again; {} goes", r_.stable, r_.candidate));
      }
      leave();
      return say(RolloutPhase::kIdle, "", "");
    }
    if (in_.latest == r_.candidate) return;
    // It serves already, though nobody has looked since.
    if (r_.stable.empty() && ready(r_.candidate)) promote("it is the first");
    leave();
    r_.candidate = in_.latest;
    r_.since = in_.now;
    say(RolloutPhase::kWaiting, "RevisionStarting",
        fmt::format("{} is not ready yet", r_.candidate));
    if (!r_.stable.empty()) {
      note(false, "RolloutStarted",
           fmt::format("{} is to take the place of {}", r_.candidate, r_.stable));
    }
  }

  // No candidate any more.
  void leave() {
    r_.candidate.clear();
    r_.step = -1;
    r_.weight = 0;
    r_.since = r_.looked = r_.figures_from = 0;
    r_.look = 0;
    r_.bad_looks = r_.quiet_looks = 0;
    r_.tight = false;
    r_.by_hand = false;
  }

  void obey() {
    const RolloutCommand& command = in_.command;
    if (command.action == RolloutAction::kRollback && !command.revision.empty()) {
      if (command.revision == r_.candidate && !r_.stable.empty()) {
        roll_back("RolledBackByUser", "somebody asked for it");
      } else if (command.revision == r_.stable && in_.latest == r_.stable &&
                 find(r_.previous) != nullptr) {
        return_to_previous("RolledBackByUser", "somebody asked for it");
      }
    }
    if (in_.latest == r_.stable) note_obeyed(r_.stable);  // it is what it is told to become
    if (!told_to_promote()) return;
    const RevisionState& candidate = *find(r_.candidate);
    // Who asks for it where there is no room for all that it needs gets it all the same.
    const bool enough = candidate.can_carry >= kWhole || !candidate.no_room.empty();
    if (candidate.ready && enough) promote("somebody asked for it");
  }

  bool told_to_promote() const { return is_told(r_.candidate); }

  // To promote it, and not yet done.
  bool is_told(const std::string& revision) const {
    return in_.command.action == RolloutAction::kPromote && !revision.empty() &&
           in_.command.revision == revision && r_.obeyed != in_.command.id();
  }

  void note_obeyed(const std::string& revision) {
    if (is_told(revision)) r_.obeyed = in_.command.id();
  }

  // What took over before it had ever worked, and never will.
  void give_up_recreated() {
    const RevisionState* stable = find(r_.stable);
    if (policy_.strategy != RolloutStrategy::kRecreate || !policy_.auto_rollback) return;
    if (stable == nullptr || stable->ready || stable->proven || stable->failure.empty()) return;
    if (in_.latest != r_.stable || find(r_.previous) == nullptr) return;
    return_to_previous("RevisionFailed", stable->failure);
  }

  // The one before takes over again as soon as it is ready; until then the traffic stays.
  void return_to_previous(std::string reason, const std::string& why) {
    const std::string bad = r_.stable;
    r_.stable = std::exchange(r_.previous, bad);
    leave();
    note_obeyed(bad);
    r_.failed = bad;
    say(RolloutPhase::kRolledBack, std::move(reason),
        fmt::format("{} was taken back: {}", bad, why));
    note(true, "RolledBack", r_.message);
  }

  void roll_back(std::string reason, const std::string& why) {
    const std::string bad = r_.candidate;
    leave();
    note_obeyed(bad);
    r_.failed = bad;
    say(RolloutPhase::kRolledBack, std::move(reason),
        fmt::format("{} was rolled back to {}: {}", bad, r_.stable, why));
    note(true, "RolledBack", r_.message);
  }

  void promote(std::string_view why) {
    const std::string old = std::exchange(r_.stable, r_.candidate);
    if (!old.empty()) r_.previous = old;
    if (r_.previous == r_.stable) r_.previous.clear();
    leave();
    note_obeyed(r_.stable);
    say(RolloutPhase::kIdle, "", "");
    note(false, "Promoted",
         old.empty() ? fmt::format("{} serves all requests", r_.stable)
                     : fmt::format("{} took the place of {}: {}", r_.stable, old, why));
  }

  void go_on() {
    const RevisionState& candidate = *find(r_.candidate);
    if (r_.stable.empty()) {
      if (candidate.ready) promote("it is the first");
      return;
    }
    const bool recreates = !policy_.percent && policy_.strategy == RolloutStrategy::kRecreate;
    if (!candidate.failure.empty() && (stepwise() || recreates) && policy_.auto_rollback) {
      return roll_back("RevisionFailed", candidate.failure);
    }
    if (recreates && candidate.loaded && candidate.failure.empty()) {
      return promote("the old one ends first");
    }
    if (!candidate.ready && r_.weight == 0) return wait_to_start(candidate);
    if (policy_.percent) return by_hand(candidate);
    if (r_.by_hand && candidate.ready) return promote("canaryTrafficPercent was removed");
    if (r_.by_hand) return;
    if (!candidate.ready && r_.tight && !stepwise()) {
      r_.weight = 0;  // the stable one needs its room again
      return wait_to_start(candidate);
    }
    switch (policy_.strategy) {
      case RolloutStrategy::kLatest:
        if (!candidate.ready) return;
        if (candidate.can_carry >= kWhole) return promote("it is ready");
        return wait_for_room(candidate, kWhole);
      case RolloutStrategy::kManual:
        return say(
            RolloutPhase::kPaused, "WaitsForPromotion",
            fmt::format("{} is ready and gets no traffic until canaryTrafficPercent gives it "
                        "some, or it is promoted",
                        r_.candidate));
      case RolloutStrategy::kProgressive:
      case RolloutStrategy::kBlueGreen:
        return go_by_steps(candidate);
      case RolloutStrategy::kRecreate:
        return;
    }
  }

  // By itself from step to step, and back.
  bool stepwise() const {
    return !policy_.percent && (policy_.strategy == RolloutStrategy::kProgressive ||
                                policy_.strategy == RolloutStrategy::kBlueGreen);
  }

  void wait_to_start(const RevisionState& candidate) {
    if (!candidate.failure.empty()) {
      return say(RolloutPhase::kWaiting, "RevisionFailed",
                 fmt::format("{} cannot start: {}", r_.candidate, candidate.failure));
    }
    if (candidate.pulling) r_.since = in_.now;  // a model takes as long as it takes
    if (!candidate.loaded) {
      return wait("ModelMissing", fmt::format("the model of {} is not here yet", r_.candidate));
    }
    if (!candidate.no_room.empty()) {
      return wait("InsufficientRoom",
                  fmt::format("{} has no room beside {}: {}, or give the rollout the strategy "
                              "Recreate, which ends the old one first",
                              r_.candidate, r_.stable, candidate.no_room));
    }
    wait("RevisionStarting", fmt::format("{} is not ready yet", r_.candidate));
  }

  void wait_for_room(const RevisionState& candidate, int weight) {
    const bool by_itself = !policy_.percent && policy_.strategy != RolloutStrategy::kBlueGreen;
    const bool may_grow = by_itself && (r_.step >= 0 || !stepwise()) && candidate.ready;
    if (may_grow && !candidate.no_room.empty()) r_.tight = true;
    if (may_grow && r_.tight && candidate.can_carry > r_.weight) {
      r_.weight = candidate.can_carry;
      r_.since = in_.now;
      note(false, "RolloutStep",
           fmt::format("{} gets {} % of the traffic: {} makes room", r_.candidate, r_.weight,
                       r_.stable));
    }
    std::string message =
        fmt::format("{} cannot carry {} % of the traffic yet", r_.candidate, weight);
    if (candidate.no_room.empty()) return wait("WaitsForCapacity", std::move(message));
    wait("InsufficientRoom", fmt::format("{}: {}", message, candidate.no_room));
  }

  // For what the machine does, as long as the policy allows.
  void wait(std::string reason, std::string message) {
    const bool steps = r_.step >= 0 && r_.step < static_cast<int>(policy_.steps.size());
    const double pause = steps ? step_of(r_.step).pause_seconds : 0;
    const double until = std::max(r_.since, in_.began) + pause + policy_.deadline_seconds;
    if (in_.now >= until) {
      message = fmt::format("it came no further for {:g} s: {}", policy_.deadline_seconds, message);
      reason = "ProgressDeadlineExceeded";
      if (stepwise() && policy_.auto_rollback) return roll_back(std::move(reason), message);
      if (r_.reason != reason) note(true, reason, message);
    } else {
      call_again(until);
    }
    say(r_.weight == 0 ? RolloutPhase::kWaiting : RolloutPhase::kStepping, std::move(reason),
        std::move(message));
  }

  void call_again(double at) { out_.next_at = out_.next_at ? std::min(*out_.next_at, at) : at; }

  void by_hand(const RevisionState& candidate) {
    r_.by_hand = true;
    const int percent = *policy_.percent;
    if (percent > r_.weight && candidate.can_carry < percent) {
      return wait_for_room(candidate, percent);
    }
    if (percent >= kWhole && candidate.ready) return promote("canaryTrafficPercent is 100");
    if (percent != r_.weight) {
      note(false, "CanaryTraffic",
           fmt::format("{} gets {} % of the traffic", r_.candidate, percent));
      r_.weight = percent;
      r_.since = in_.now;
    }
    say(RolloutPhase::kPaused, "CanaryTrafficPercent",
        fmt::format("{} gets {} % of the traffic, as canaryTrafficPercent says", r_.candidate,
                    percent));
  }

  void go_by_steps(const RevisionState& candidate) {
    // The policy may have other steps than when this one was entered.
    const auto count = static_cast<int>(policy_.steps.size());
    if (count == 0) return;
    r_.step = std::min(r_.step, count - 1);
    const bool told_to_pause =
        in_.command.action == RolloutAction::kPause && in_.command.revision == r_.candidate;
    if (r_.phase == RolloutPhase::kPaused && r_.reason == "AnalysisFailed") return;
    if (r_.step >= 0 && !look()) return;
    if (told_to_pause) {
      return say(RolloutPhase::kPaused, "PausedByUser",
                 fmt::format("{} stays at {} % of the traffic: somebody asked for it", r_.candidate,
                             r_.weight));
    }
    if (!candidate.ready) return schedule();
    while (r_.step < count) {
      if (r_.step >= 0) {
        const bool over = in_.now >= r_.since + step_of(r_.step).pause_seconds;
        if (!over || r_.bad_looks > 0) return schedule();
        if (r_.step + 1 == count) return promote("every step went well");
      }
      const int next = step_of(r_.step + 1).weight;
      if (candidate.can_carry < next) {
        wait_for_room(candidate, next);
        return schedule();
      }
      enter_step(r_.step + 1);
    }
  }

  const RolloutStep& step_of(int i) const { return policy_.steps[static_cast<size_t>(i)]; }

  void enter_step(int i) {
    r_.step = i;
    r_.weight = step_of(i).weight;
    r_.since = in_.now;
    r_.looked = in_.now;
    r_.figures_from = std::floor(in_.now);  // loads are told by whole seconds
    say(RolloutPhase::kStepping, "Step",
        fmt::format("{} gets {} % of the traffic (step {} of {})", r_.candidate, r_.weight, i + 1,
                    policy_.steps.size()));
    note(false, "RolloutStep", r_.message);
  }

  void schedule() {
    if (r_.step < 0) return;
    double next = r_.since + step_of(r_.step).pause_seconds;
    if (policy_.analysis) {
      const double look_at = r_.looked + policy_.analysis->interval_seconds;
      next = next > in_.now ? std::min(next, look_at) : look_at;
    }
    if (next > in_.now) call_again(next);
  }

  // Looks where it is time to. False: nothing more is to be done now.
  bool look() {
    if (!policy_.analysis) return true;
    const RolloutAnalysis& analysis = *policy_.analysis;
    if (in_.now < r_.looked + analysis.interval_seconds) return true;
    std::string problem;
    if (!analysis.check_url.empty()) {
      if (!in_.check || in_.check->look != r_.look) {
        ask(analysis);
        return false;
      }
      if (!in_.check->good) problem = "the check says no: " + in_.check->message;
    }
    // At a weight of 0 there is nothing else to decide by.
    bool decided = !problem.empty() || (!analysis.check_url.empty() && r_.weight == 0);
    if (!ready(r_.candidate)) {
      problem = "it is not ready any more";
      decided = true;
    }
    const double to = std::floor(in_.now - kReportLag);
    bool quiet = false;
    if (!decided && in_.figures && to > r_.figures_from) {
      const RolloutFigures mine = in_.figures(r_.candidate, r_.figures_from, to);
      decided = mine.requests >= analysis.min_requests;
      if (decided || mine.requests > 0) {
        problem = judge(analysis, mine, in_.figures(r_.stable, r_.figures_from, to));
      }
      quiet = !decided && problem.empty();
    }
    r_.looked = in_.now;
    ++r_.look;
    if (!decided) {
      forget_bad_looks(analysis, quiet);
      return true;
    }
    r_.figures_from = std::max(r_.figures_from, to);
    return count_look(analysis, problem);
  }

  // Nobody asks it any more, or few do and nothing speaks against it: a bad look of before does not
  // hold its step for ever.
  void forget_bad_looks(const RolloutAnalysis& analysis, bool quiet) {
    r_.quiet_looks = quiet && r_.bad_looks > 0 ? r_.quiet_looks + 1 : 0;
    if (r_.quiet_looks < analysis.failure_limit) return;
    r_.bad_looks = r_.quiet_looks = 0;
  }

  bool count_look(const RolloutAnalysis& analysis, const std::string& problem) {
    r_.quiet_looks = 0;
    if (problem.empty()) {
      r_.bad_looks = 0;
      return true;
    }
    ++r_.bad_looks;
    note(true, "AnalysisFailed",
         fmt::format("{} at {} %: {} ({} of {} looks)", r_.candidate, r_.weight, problem,
                     r_.bad_looks, analysis.failure_limit));
    if (r_.bad_looks < analysis.failure_limit) return true;
    if (policy_.auto_rollback) {
      roll_back("AnalysisFailed", problem);
    } else {
      say(RolloutPhase::kPaused, "AnalysisFailed",
          fmt::format("{} stays at {} %: {}; promote it or roll it back", r_.candidate, r_.weight,
                      problem));
    }
    return false;
  }

  void ask(const RolloutAnalysis& analysis) {
    out_.check = RolloutCheckDue{
        .url = analysis.check_url,
        .timeout_seconds = analysis.check_timeout_seconds,
        .look = r_.look,
        .body = {{"stable", r_.stable}, {"candidate", r_.candidate}, {"weight", r_.weight}}};
    call_again(in_.now + analysis.check_timeout_seconds);
  }

  void decide_weights() {
    const bool candidate_may = !r_.candidate.empty() && r_.weight > 0 && ready(r_.candidate);
    if (r_.stable.empty()) {
      const std::string& first = r_.candidate.empty() ? in_.latest : r_.candidate;
      if (find(first) != nullptr) out_.weights = {{first, kWhole}};
      return;
    }
    if (!ready(r_.stable)) {
      // Of what may have traffic at all; else requests wait for the stable one.
      const bool returning = r_.previous == r_.failed && ready(r_.previous);
      out_.weights = {{candidate_may ? r_.candidate : returning ? r_.previous : r_.stable, kWhole}};
      return;
    }
    const int weight = candidate_may ? r_.weight : 0;
    if (weight < kWhole) out_.weights.push_back({r_.stable, kWhole - weight});
    if (weight > 0) out_.weights.push_back({r_.candidate, weight});
  }

  void decide_capacity() {
    if (!r_.stable.empty()) {
      out_.capacity.push_back({r_.stable, r_.tight ? kWhole - r_.weight : kWhole});
    }
    if (!r_.candidate.empty()) out_.capacity.push_back({r_.candidate, candidate_share()});
    const bool returning = r_.previous == r_.failed && ready(r_.previous) && !ready(r_.stable);
    if (returning) out_.capacity.push_back({r_.previous, kWhole});
  }

  // What the candidate must be able to carry to go one step further.
  int candidate_share() const {
    if (r_.stable.empty() || told_to_promote()) return kWhole;
    if (r_.tight && !stepwise() && !ready(r_.candidate)) return 1;
    if (policy_.percent) return std::max(r_.weight, *policy_.percent);
    const bool by_steps = policy_.strategy == RolloutStrategy::kProgressive ||
                          policy_.strategy == RolloutStrategy::kBlueGreen;
    if (!by_steps) return policy_.strategy == RolloutStrategy::kManual ? r_.weight : kWhole;
    const auto count = static_cast<int>(policy_.steps.size());
    if (count == 0) return kWhole;
    return std::max(r_.weight, step_of(std::min(r_.step + 1, count - 1)).weight);
  }

  Rollout& r_;
  const RolloutPolicy& policy_;
  const RolloutInput& in_;
  RolloutDecision out_;
};

}  // namespace

RolloutDecision step(Rollout& rollout, const RolloutPolicy& policy, const RolloutInput& input) {
  return Machine(rollout, policy, input).run();
}

RolloutFigures rollout_figures(const LoadSpan& span) {
  return {.requests = span.ended(),
          .errors = span.failed + span.refused,
          .ttft_p95_ms = span.ttft.quantile(0.95),
          .latency_p95_ms = span.latency.quantile(0.95),
          .tokens_second = span.stream_rate.quantile(0.5)};
}

}  // namespace sluice::platform
