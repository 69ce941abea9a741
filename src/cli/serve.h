// `sluice serve`: one runtime: models, engines, HTTP.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace sluice::cli {

struct ServeOptions {
  std::vector<std::string> models;  // MODEL or MODEL=name
  std::string model_repository;     // folder of models that are loaded on demand
  std::string model_memory;         // bytes, with K, M, G: models are loaded on demand
  int model_load_timeout_seconds = 120;
  std::string host = "127.0.0.1";
  int port = 8000;
  int grpc_port = -1;                           // below 0: no gRPC
  std::vector<std::string> served_model_names;  // of the first model
  std::vector<std::string> api_keys;
  std::vector<std::string> admin_keys;
  std::string internal_token;
  bool metrics_public = false;
  std::string ssl_certfile;  // with ssl_keyfile: HTTPS
  std::string ssl_keyfile;
  std::string ssl_ca_certs;  // that client certificates are checked against
  int ssl_cert_reqs = 0;     // as Python's ssl module counts: 0 none, 1 optional, 2 required
  bool ssl_refresh = true;
  int max_model_len = 0;
  int max_num_seqs = 0;
  int max_num_batched_tokens = 0;
  double max_step_stretch = 0.0;
  std::string speculative_config;  // JSON, or none
  int block_size = 0;
  std::string kv_cache_dtype = "auto";
  std::string kv_cache_memory;  // bytes, with K, M, G
  bool prefix_caching = true;
  std::string weights_cache_dir;  // empty: off; serving::kBesideModel
  std::string chat_template;      // a file's name, or the template itself
  int64_t seed = -1;              // below 0: from the system
  int threads = 0;                // 0: one per core
  std::string isa = "auto";
  int max_queued_requests = 0;
  int64_t max_queued_tokens = 0;
  int request_timeout_seconds = 600;
  int shutdown_timeout_seconds = 30;
  std::string otlp_traces_endpoint;
  std::string log_level = "info";

  ServeOptions();
};

// Serves until SIGTERM or SIGINT; returns the process's exit status.
int run_serve(const ServeOptions& options);

}  // namespace sluice::cli
