// `sluice bench`: a load client for any OpenAI-compatible server.
//
// Definitions are vLLM's: TTFT = just before the POST to the first event with a token; ITL = gaps
// between such events, pooled over requests; E2EL = to the last one; TPOT = (E2EL - TTFT) / (output
// tokens - 1), for requests of two tokens and more. Output tokens come from the server's usage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::cli {

struct BenchOptions {
  std::string url = "http://127.0.0.1:8000";
  std::string api_key;
  std::string model;
  std::string route = "completions";  // or "chat"
  int requests = 100;
  double request_rate = 0;  // requests a second; 0: as fast as the concurrency allows
  double burstiness = 1;    // shape of the gamma-distributed gaps; 1: Poisson arrivals
  int concurrency = 16;     // most requests at a time
  int input_words = 128;
  int max_input_words = 0;  // above input_words: lengths are drawn from input_words to this
  std::string prompt_file;  // its text stands at the beginning of every prompt
  int prefix_words = 0;     // the same ones in front of every prompt
  int output_tokens = 128;
  bool ignore_eos = false;
  double temperature = 0;  // above 0: each request has a seed of its own
  bool stream = true;
  uint64_t seed = 0;
  double goodput_ttft_ms = 0;  // 0: no bound
  double goodput_tpot_ms = 0;
  double goodput_e2el_ms = 0;
  std::string output = "text";  // or "json"
};

int run_bench(const BenchOptions& options);

}  // namespace sluice::cli
