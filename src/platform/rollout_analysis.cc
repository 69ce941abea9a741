#include "platform/rollout_analysis.h"

#include <fmt/format.h>

#include <optional>

namespace sluice::platform {
namespace {

double rate(const RolloutFigures& figures) {
  if (figures.requests <= 0) return 0;
  return static_cast<double>(figures.errors) / static_cast<double>(figures.requests);
}

// Of a revision that may just have been lucky: one more request, which failed.
double careful_rate(const RolloutFigures& figures) {
  return static_cast<double>(figures.errors + 1) / static_cast<double>(figures.requests + 1);
}

std::string too_long(std::string_view what, std::optional<double> found,
                     std::optional<double> most) {
  if (!found || !most || *found <= *most) return {};
  return fmt::format("{} is {:.0f} ms at the 95th percentile, at most {:.0f} ms are allowed", what,
                     *found, *most);
}

std::string longer(std::string_view what, std::optional<double> found, std::optional<double> other,
                   double ratio) {
  if (!found || !other || *found <= ratio * *other) return {};
  return fmt::format(
      "{} is {:.0f} ms at the 95th percentile, more than {:g} times the {:.0f} ms of the stable "
      "revision",
      what, *found, ratio, *other);
}

std::string judge_alone(const RolloutAnalysis& analysis, const RolloutFigures& candidate) {
  if (analysis.max_error_rate && rate(candidate) > *analysis.max_error_rate) {
    return fmt::format("{} of {} requests failed, at most {:.2f} % are allowed", candidate.errors,
                       candidate.requests, 100 * *analysis.max_error_rate);
  }
  if (auto problem =
          too_long("the time to the first token", candidate.ttft_p95_ms, analysis.max_ttft_ms);
      !problem.empty()) {
    return problem;
  }
  if (auto problem =
          too_long("the time of a request", candidate.latency_p95_ms, analysis.max_latency_ms);
      !problem.empty()) {
    return problem;
  }
  const auto least = analysis.min_tokens_second;
  if (least && candidate.tokens_second && *candidate.tokens_second < *least) {
    return fmt::format("a stream has {:.1f} tokens/s in the median, at least {:.1f} are wanted",
                       *candidate.tokens_second, *least);
  }
  return {};
}

std::string judge_beside(double ratio, const RolloutFigures& candidate,
                         const RolloutFigures& stable) {
  if (rate(candidate) > ratio * careful_rate(stable)) {
    return fmt::format(
        "{} of {} requests failed, more than {:g} times the rate of the stable revision ({} of {})",
        candidate.errors, candidate.requests, ratio, stable.errors, stable.requests);
  }
  if (auto problem =
          longer("the time to the first token", candidate.ttft_p95_ms, stable.ttft_p95_ms, ratio);
      !problem.empty()) {
    return problem;
  }
  if (auto problem =
          longer("the time of a request", candidate.latency_p95_ms, stable.latency_p95_ms, ratio);
      !problem.empty()) {
    return problem;
  }
  if (candidate.tokens_second && stable.tokens_second &&
      *candidate.tokens_second * ratio < *stable.tokens_second) {
    return fmt::format(
        "a stream has {:.1f} tokens/s in the median, the stable revision's more than {:g} times "
        "that ({:.1f})",
        *candidate.tokens_second, ratio, *stable.tokens_second);
  }
  return {};
}

}  // namespace

std::string judge(const RolloutAnalysis& analysis, const RolloutFigures& candidate,
                  const RolloutFigures& stable) {
  if (auto problem = judge_alone(analysis, candidate); !problem.empty()) return problem;
  if (!analysis.max_ratio || stable.requests < analysis.min_requests) return {};
  return judge_beside(*analysis.max_ratio, candidate, stable);
}

}  // namespace sluice::platform
