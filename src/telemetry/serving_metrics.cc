#include "telemetry/serving_metrics.h"

#include "telemetry/buckets.h"

namespace sluice::telemetry {
namespace {

// Makes both metrics of a pair with the labels each view carries.
class Pairs {
 public:
  Pairs(Metrics& metrics, const std::string& model)
      : metrics_(metrics),
        native_{{"model", model}},
        vllm_{{"model_name", model}, {"engine", "0"}} {}

  BothCounters counter(const char* native, const char* vllm, const char* help,
                       const Labels& native_more = {}, const Labels& vllm_more = {}) {
    return {&metrics_.counter(View::kNative, native, help, with(native_, native_more)),
            &metrics_.counter(View::kVllm, vllm, help, with(vllm_, vllm_more))};
  }
  BothGauges gauge(const char* native, const char* vllm, const char* help) {
    return {&metrics_.gauge(View::kNative, native, help, native_),
            &metrics_.gauge(View::kVllm, vllm, help, vllm_)};
  }
  BothHistograms histogram(const char* native, const char* vllm, const char* help,
                           const Buckets& buckets) {
    return {&metrics_.histogram(View::kNative, native, help, buckets, native_),
            &metrics_.histogram(View::kVllm, vllm, help, buckets, vllm_)};
  }
  Labels native(const Labels& more) const { return with(native_, more); }
  Labels vllm(const Labels& more) const { return with(vllm_, more); }

 private:
  static Labels with(Labels labels, const Labels& more) {
    labels.insert(more.begin(), more.end());
    return labels;
  }
  Metrics& metrics_;
  Labels native_;
  Labels vllm_;
};

}  // namespace

ServingMetrics::ServingMetrics(Metrics& metrics, const std::string& model, int max_model_len,
                               const CacheInfo& cache) {
  Pairs make(metrics, model);
  time_to_first_token =
      make.histogram("sluice_time_to_first_token_seconds", "vllm:time_to_first_token_seconds",
                     "Arrival of a request to its first token.", first_token_buckets());
  inter_token =
      make.histogram("sluice_inter_token_latency_seconds", "vllm:inter_token_latency_seconds",
                     "Time between two tokens of a choice.", inter_token_buckets());
  time_per_output_token = make.histogram(
      "sluice_time_per_output_token_seconds", "vllm:request_time_per_output_token_seconds",
      "Mean time of a request's tokens after the first.", inter_token_buckets());
  end_to_end = make.histogram("sluice_request_duration_seconds", "vllm:e2e_request_latency_seconds",
                              "Arrival of a request to its end.", latency_buckets());
  queue_time = make.histogram("sluice_queue_time_seconds", "vllm:request_queue_time_seconds",
                              "Time waiting for the scheduler.", latency_buckets());
  prefill_time = make.histogram("sluice_prefill_time_seconds", "vllm:request_prefill_time_seconds",
                                "First scheduling to first token.", latency_buckets());
  decode_time = make.histogram("sluice_decode_time_seconds", "vllm:request_decode_time_seconds",
                               "First token to last.", latency_buckets());
  inference_time =
      make.histogram("sluice_inference_time_seconds", "vllm:request_inference_time_seconds",
                     "First scheduling to last token.", latency_buckets());
  const Buckets counts = count_buckets(max_model_len);
  prompt_length = make.histogram("sluice_prompt_length_tokens", "vllm:request_prompt_tokens",
                                 "Prompt tokens of a request.", counts);
  generation_length =
      make.histogram("sluice_generation_length_tokens", "vllm:request_generation_tokens",
                     "Generated tokens of a request.", counts);
  max_tokens_asked =
      make.histogram("sluice_max_tokens_asked_tokens", "vllm:request_params_max_tokens",
                     "max_tokens of a request.", counts);
  choices = make.histogram("sluice_choices_per_request", "vllm:request_params_n",
                           "Choices asked for by a request.", {1, 2, 5, 10, 20});
  step_tokens = make.histogram("sluice_step_size_tokens", "vllm:iteration_tokens_total",
                               "Tokens computed in one engine step.", count_buckets(16384));
  prompt_tokens = make.counter("sluice_prompt_tokens_total", "vllm:prompt_tokens_total",
                               "Prompt tokens of finished prefills.");
  generation_tokens = make.counter("sluice_generation_tokens_total", "vllm:generation_tokens_total",
                                   "Generated tokens.");
  prefix_queries =
      make.counter("sluice_prefix_cache_queries_total", "vllm:prefix_cache_queries_total",
                   "Prompt tokens looked up in the prefix cache.");
  prefix_hits = make.counter("sluice_prefix_cache_hits_total", "vllm:prefix_cache_hits_total",
                             "Prompt tokens found in the prefix cache.");
  cached_tokens =
      make.counter("sluice_prompt_tokens_cached_total", "vllm:prompt_tokens_cached_total",
                   "Prompt tokens of requests that were not computed again.");
  preemptions = make.counter("sluice_preemptions_total", "vllm:num_preemptions_total",
                             "Sequences put back to make room.");
  drafts = make.counter("sluice_drafts_total", "vllm:spec_decode_num_drafts_total",
                        "Times that a sequence computed tokens ahead.");
  draft_tokens = make.counter("sluice_draft_tokens_total",
                              "vllm:spec_decode_num_draft_tokens_total", "Tokens computed ahead.");
  accepted_drafts = make.counter("sluice_draft_tokens_accepted_total",
                                 "vllm:spec_decode_num_accepted_tokens_total",
                                 "Tokens computed ahead that were the right ones.");
  running = make.gauge("sluice_requests_running", "vllm:num_requests_running",
                       "Sequences in the running batch.");
  waiting = make.gauge("sluice_requests_waiting", "vllm:num_requests_waiting",
                       "Sequences waiting to be scheduled.");
  kv_usage = make.gauge("sluice_kv_cache_usage_ratio", "vllm:kv_cache_usage_perc",
                        "Share of KV blocks held by sequences, 0 to 1.");
  kv_usage_old = &metrics.gauge(View::kVllm, "vllm:gpu_cache_usage_perc",
                                "Older name of vllm:kv_cache_usage_perc.", make.vllm({}));
  metrics
      .gauge(View::kVllm, "vllm:cpu_cache_usage_perc",
             "Older name for swapped blocks; nothing is swapped.", make.vllm({}))
      .Set(0);
  for (size_t i = 0; i < kFinishNames.size(); ++i) {
    const std::string name(kFinishNames[i]);
    finish_[i] =
        make.counter("sluice_requests_finished_total", "vllm:request_success_total",
                     "Choices ended, by reason.", {{"reason", name}}, {{"finished_reason", name}});
  }
  for (size_t i = 0; i < kRejectionNames.size(); ++i) {
    rejections_[i] = &metrics.counter(View::kNative, "sluice_requests_rejected_total",
                                      "Requests refused before they were queued, by reason.",
                                      make.native({{"reason", std::string(kRejectionNames[i])}}));
  }
  const Labels info = {{"block_size", std::to_string(cache.block_size)},
                       {"num_gpu_blocks", std::to_string(cache.blocks)},
                       {"cache_dtype", cache.kv_type},
                       {"enable_prefix_caching", cache.prefix_caching ? "True" : "False"}};
  metrics.gauge(View::kVllm, "vllm:cache_config_info", "Settings of the KV cache.", make.vllm(info))
      .Set(1);
  metrics.gauge(View::kNative, "sluice_kv_cache_blocks", "KV blocks of the model.", make.native({}))
      .Set(static_cast<double>(cache.blocks));
}

void ServingMetrics::finished(Finish reason) const { finish_[static_cast<size_t>(reason)].add(1); }

void ServingMetrics::rejected(Rejection reason) const {
  rejections_[static_cast<size_t>(reason)]->Increment();
}

}  // namespace sluice::telemetry
