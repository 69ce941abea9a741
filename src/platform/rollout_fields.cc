// Rollout as JSON: the policy out of a specification, the state into a status and back.
#include <algorithm>
#include <array>
#include <utility>

#include "control/json_util.h"
#include "platform/rollout.h"

namespace sluice::platform {
namespace {

using control::array_at;
using control::integer_at;
using control::number_at;
using control::object_at;
using control::text_at;

constexpr double kDefaultErrorRate = 0.05;
constexpr double kDefaultPause = 30;
constexpr double kMaxSeconds = 1e7;

constexpr std::array<std::pair<RolloutPhase, std::string_view>, 5> kPhases = {
    {{RolloutPhase::kIdle, "Idle"},
     {RolloutPhase::kWaiting, "Waiting"},
     {RolloutPhase::kStepping, "Progressing"},
     {RolloutPhase::kPaused, "Paused"},
     {RolloutPhase::kRolledBack, "RolledBack"}}};

constexpr std::array<std::pair<RolloutAction, std::string_view>, 3> kActions = {
    {{RolloutAction::kPromote, "promote"},
     {RolloutAction::kRollback, "rollback"},
     {RolloutAction::kPause, "pause"}}};

double seconds_at(const json::object& object, std::string_view path, double fallback) {
  return std::clamp(number_at(object, path).value_or(fallback), 0.0, kMaxSeconds);
}

int count_at(const json::object& object, std::string_view path, int64_t fallback, int64_t least) {
  return static_cast<int>(
      std::clamp<int64_t>(integer_at(object, path).value_or(fallback), least, 1'000'000));
}

RolloutAnalysis read_analysis(const json::object* given) {
  RolloutAnalysis out;
  static const json::object kNone;
  const json::object& a = given == nullptr ? kNone : *given;
  out.interval_seconds = std::max(0.1, seconds_at(a, "intervalSeconds", out.interval_seconds));
  out.failure_limit = count_at(a, "failureLimit", out.failure_limit, 1);
  out.min_requests = count_at(a, "minRequests", out.min_requests, 1);
  out.max_error_rate = number_at(a, "maxErrorRate");
  out.max_ttft_ms = number_at(a, "maxTtftMs");
  out.max_latency_ms = number_at(a, "maxLatencyMs");
  out.min_tokens_second = number_at(a, "minTokensPerSecond");
  out.max_ratio = number_at(a, "maxRatio");
  out.check_url = text_at(a, "check.url");
  out.check_timeout_seconds =
      std::max(0.1, seconds_at(a, "check.timeoutSeconds", out.check_timeout_seconds));
  const bool bounded = out.max_error_rate || out.max_ttft_ms || out.max_latency_ms ||
                       out.min_tokens_second || out.max_ratio || !out.check_url.empty();
  if (!bounded) out.max_error_rate = kDefaultErrorRate;
  return out;
}

std::vector<RolloutStep> read_steps(const json::object& rollout) {
  std::vector<RolloutStep> steps;
  const auto* given = array_at(rollout, "steps");
  for (size_t i = 0; given != nullptr && i < given->size(); ++i) {
    const auto* step = (*given)[i].if_object();
    if (step == nullptr) continue;
    const auto weight =
        static_cast<int>(std::clamp<int64_t>(integer_at(*step, "weight").value_or(0), 0, 100));
    if (!steps.empty() && weight <= steps.back().weight) continue;
    steps.push_back({weight, seconds_at(*step, "pauseSeconds", 0)});
  }
  return steps;
}

// Ends at 100, and is watched there for as long as the analysis needs to be sure.
std::vector<RolloutStep> steps_of(const RolloutPolicy& policy, std::vector<RolloutStep> given) {
  const double watch = policy.analysis ? policy.analysis->window() : 0;
  if (policy.strategy == RolloutStrategy::kBlueGreen) {
    std::vector<RolloutStep> steps;
    // What an external check says is heard before anybody is served.
    if (policy.analysis && !policy.analysis->check_url.empty()) {
      steps.push_back({0, policy.analysis->interval_seconds});
    }
    steps.push_back({100, given.empty() ? watch : given.back().pause_seconds});
    return steps;
  }
  if (given.empty()) given = {{10, kDefaultPause}, {25, kDefaultPause}, {50, kDefaultPause}};
  if (given.back().weight < 100) given.push_back({100, watch});
  return given;
}

}  // namespace

RolloutPolicy rollout_policy(const json::object& service_spec) {
  RolloutPolicy out;
  if (const auto percent = integer_at(service_spec, "predictor.canaryTrafficPercent")) {
    out.percent = static_cast<int>(std::clamp<int64_t>(*percent, 0, 100));
  }
  const auto* rollout = object_at(service_spec, "sluice.rollout");
  if (rollout == nullptr) return out;
  const std::string_view strategy = text_at(*rollout, "strategy");
  out.strategy = strategy == "BlueGreen"  ? RolloutStrategy::kBlueGreen
                 : strategy == "Manual"   ? RolloutStrategy::kManual
                 : strategy == "Recreate" ? RolloutStrategy::kRecreate
                                          : RolloutStrategy::kProgressive;
  out.deadline_seconds =
      std::max(1.0, seconds_at(*rollout, "progressDeadlineSeconds", out.deadline_seconds));
  if (const json::value* given = rollout->if_contains("autoRollback"); given != nullptr) {
    if (const auto* set = given->if_bool()) out.auto_rollback = *set;
  }
  const bool by_steps =
      out.strategy == RolloutStrategy::kProgressive || out.strategy == RolloutStrategy::kBlueGreen;
  if (!by_steps) return out;
  out.analysis = read_analysis(object_at(*rollout, "analysis"));
  out.steps = steps_of(out, read_steps(*rollout));
  return out;
}

RolloutCommand parse_rollout_command(std::string_view text) {
  const auto next_word = [&text] {
    text.remove_prefix(std::min(text.size(), text.find_first_not_of(' ')));
    const std::string_view word = text.substr(0, text.find(' '));
    text.remove_prefix(word.size());
    return word;
  };
  const std::string_view first = next_word();
  const std::string_view revision = next_word();
  const std::string_view token = next_word();
  if (revision.empty()) return {};
  for (const auto& [action, word] : kActions) {
    if (first != word) continue;
    return {.action = action,
            .revision = std::string(revision),
            .token = std::string(token.substr(0, kMaxTokenBytes))};
  }
  return {};
}

std::string_view rollout_phase_name(RolloutPhase phase) {
  const auto found = std::ranges::find(kPhases, phase, &decltype(kPhases)::value_type::first);
  return found->second;
}

json::object to_json(const Rollout& rollout) {
  json::object out{{"phase", rollout_phase_name(rollout.phase)}};
  const auto put = [&out](std::string_view key, const std::string& text) {
    if (!text.empty()) out[key] = text;
  };
  put("stable", rollout.stable);
  put("previous", rollout.previous);
  put("candidate", rollout.candidate);
  put("failed", rollout.failed);
  put("obeyed", rollout.obeyed);
  put("reason", rollout.reason);
  put("message", rollout.message);
  if (rollout.candidate.empty()) return out;
  out["step"] = rollout.step;
  out["weight"] = rollout.weight;
  out["since"] = rollout.since;
  out["looked"] = rollout.looked;
  out["figuresFrom"] = rollout.figures_from;
  out["look"] = rollout.look;
  out["badLooks"] = rollout.bad_looks;
  if (rollout.quiet_looks > 0) out["quietLooks"] = rollout.quiet_looks;
  if (rollout.tight) out["tight"] = true;
  out["byHand"] = rollout.by_hand;
  return out;
}

Rollout rollout_from_json(const json::object& object) {
  Rollout out;
  for (const auto& [phase, name] : kPhases) {
    if (text_at(object, "phase") == name) out.phase = phase;
  }
  out.stable = text_at(object, "stable");
  out.previous = text_at(object, "previous");
  out.candidate = text_at(object, "candidate");
  out.failed = text_at(object, "failed");
  out.obeyed = text_at(object, "obeyed");
  out.reason = text_at(object, "reason");
  out.message = text_at(object, "message");
  if (out.candidate.empty()) return out;
  out.step =
      static_cast<int>(std::clamp<int64_t>(integer_at(object, "step").value_or(-1), -1, 1'000'000));
  out.weight =
      static_cast<int>(std::clamp<int64_t>(integer_at(object, "weight").value_or(0), 0, 100));
  out.since = number_at(object, "since").value_or(0);
  out.looked = number_at(object, "looked").value_or(0);
  out.figures_from = number_at(object, "figuresFrom").value_or(0);
  out.look = integer_at(object, "look").value_or(0);
  out.bad_looks = static_cast<int>(
      std::clamp<int64_t>(integer_at(object, "badLooks").value_or(0), 0, 1'000'000));
  out.quiet_looks = static_cast<int>(
      std::clamp<int64_t>(integer_at(object, "quietLooks").value_or(0), 0, 1'000'000));
  out.tight = control::true_at(object, "tight");
  out.by_hand = control::true_at(object, "byHand");
  return out;
}

}  // namespace sluice::platform
