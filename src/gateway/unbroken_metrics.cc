#include "gateway/unbroken_metrics.h"

#include <string>

namespace sluice::gateway {
namespace {

using telemetry::View;

constexpr std::array<const char*, kAttemptReasons> kReasonNames = {
    "first", "retry", "hedge", "resume", "move", "other_revision"};
constexpr std::array<const char*, kLosses> kLossNames = {"not_reached", "refused", "cut",
                                                         "hung",        "failed",  "not_sent"};

telemetry::Buckets gap_buckets() {
  return {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 2.5, 3.0, 5.0, 10.0, 20.0};
}

telemetry::Buckets tokenize_buckets() {
  return {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 2.0, 10.0};
}

}  // namespace

UnbrokenMetrics::UnbrokenMetrics(telemetry::Metrics& metrics) {
  for (size_t i = 0; i < kAttemptReasons; ++i) {
    attempts_[i] =
        &metrics.counter(View::kNative, "sluice_gateway_unbroken_attempts_total",
                         "Requests sent to replicas, by why.", {{"reason", kReasonNames[i]}});
  }
  for (size_t i = 0; i < kLosses; ++i) {
    const auto counter = [&](const char* when) {
      return &metrics.counter(View::kNative, "sluice_gateway_unbroken_losses_total",
                              "Attempts that ended without an answer, by why, and by whether the "
                              "client had been told a part of it.",
                              {{"loss", kLossNames[i]}, {"when", when}});
    };
    losses_[i] = counter("before_first_token");
    losses_resumed_[i] = counter("mid_answer");
  }
  gaps_ = &metrics.histogram(View::kNative, "sluice_gateway_resume_gap_seconds",
                             "Time for which the client of a resumed answer saw nothing.",
                             gap_buckets());
  tokenize_ = &metrics.histogram(
      View::kNative, "sluice_gateway_tokenize_seconds",
      "Time in which a prompt's tokens were found out, before its replica was chosen.",
      tokenize_buckets());
  const auto given_up = [&](const char* when) {
    return &metrics.counter(View::kNative, "sluice_gateway_unbroken_given_up_total",
                            "Answers that ended in an error because of the replicas.",
                            {{"when", when}});
  };
  refused_ = given_up("before_first_token");
  cut_ = given_up("mid_answer");
}

void UnbrokenMetrics::on_attempt(AttemptReason reason) {
  attempts_[static_cast<size_t>(reason)]->Increment();
}

void UnbrokenMetrics::on_loss(Loss loss, bool resumable) {
  (resumable ? losses_resumed_ : losses_)[static_cast<size_t>(loss)]->Increment();
}

void UnbrokenMetrics::on_gap(Duration gap) { gaps_->Observe(to_seconds(gap)); }

void UnbrokenMetrics::on_given_up(bool mid_answer) { (mid_answer ? cut_ : refused_)->Increment(); }

}  // namespace sluice::gateway
