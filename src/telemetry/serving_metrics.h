// ServingMetrics: what one served model counts, in both views. Names and meanings: docs/metrics.md.
#pragma once

#include <array>
#include <string>
#include <string_view>

#include "telemetry/metrics.h"

namespace sluice::telemetry {

// One event counted under its native and its vLLM name.
struct BothCounters {
  Counter* native;
  Counter* vllm;
  void add(double n) const {
    native->Increment(n);
    vllm->Increment(n);
  }
};

struct BothHistograms {
  Histogram* native;
  Histogram* vllm;
  void observe(double value) const {
    native->Observe(value);
    vllm->Observe(value);
  }
};

struct BothGauges {
  Gauge* native;
  Gauge* vllm;
  void set(double value) const {
    native->Set(value);
    vllm->Set(value);
  }
};

enum class Finish { kStop, kLength, kAbort, kError };
inline constexpr std::array<std::string_view, 4> kFinishNames = {"stop", "length", "abort",
                                                                 "error"};

enum class Rejection { kQueueRequests, kQueueTokens, kInvalid, kTooLong, kDraining };
inline constexpr std::array<std::string_view, 5> kRejectionNames = {
    "queue_requests", "queue_tokens", "invalid", "too_long", "draining"};

struct CacheInfo {
  int block_size = 0;
  int64_t blocks = 0;
  std::string kv_type;
  bool prefix_caching = false;
};

// Callable from any thread; lives as long as the Metrics.
class ServingMetrics {
 public:
  ServingMetrics(Metrics& metrics, const std::string& model, int max_model_len,
                 const CacheInfo& cache);

  void finished(Finish reason) const;
  void rejected(Rejection reason) const;

  BothHistograms time_to_first_token, inter_token, end_to_end, queue_time, prefill_time,
      decode_time, inference_time, time_per_output_token;
  BothHistograms prompt_length, generation_length, choices, max_tokens_asked, step_tokens;
  BothCounters prompt_tokens, generation_tokens, prefix_queries, prefix_hits, preemptions,
      cached_tokens, drafts, draft_tokens, accepted_drafts;
  BothGauges running, waiting, kv_usage;
  Gauge* kv_usage_old;  // vllm:gpu_cache_usage_perc

 private:
  std::array<BothCounters, kFinishNames.size()> finish_;
  std::array<Counter*, kRejectionNames.size()> rejections_;
};

}  // namespace sluice::telemetry
