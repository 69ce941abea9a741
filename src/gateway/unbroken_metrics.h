// The numbers of unbroken streams: attempts by reason, losses, gaps.
#pragma once

#include <array>

#include "gateway/unbroken_answer.h"
#include "telemetry/metrics.h"

namespace sluice::gateway {

// Any thread.
class UnbrokenMetrics final : public UnbrokenObserver {
 public:
  explicit UnbrokenMetrics(telemetry::Metrics& metrics);

  void on_attempt(AttemptReason reason) override;
  void on_loss(Loss loss, bool resumable) override;
  void on_gap(Duration gap) override;
  void on_given_up(bool mid_answer) override;
  // A prompt was tokenized before its replica was chosen.
  void on_tokenized(Duration took) { tokenize_->Observe(to_seconds(took)); }

 private:
  std::array<telemetry::Counter*, kAttemptReasons> attempts_;
  std::array<telemetry::Counter*, kLosses> losses_;          // before the first token
  std::array<telemetry::Counter*, kLosses> losses_resumed_;  // in mid answer
  telemetry::Histogram* gaps_;
  telemetry::Histogram* tokenize_;
  telemetry::Counter* refused_;
  telemetry::Counter* cut_;
};

}  // namespace sluice::gateway
