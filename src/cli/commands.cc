#include "cli/commands.h"

#include <CLI/CLI.hpp>
#include <iostream>

#include "base/build_info.h"
#include "cli/bench.h"
#include "cli/chat.h"
#include "cli/client_commands.h"
#include "cli/gateway.h"
#include "cli/inspect.h"
#include "cli/keep.h"
#include "cli/platform_commands.h"
#include "cli/pull.h"
#include "cli/quantize.h"
#include "cli/reference_page.h"
#include "cli/serve.h"
#include "cli/yaml_config.h"

namespace sluice::cli {
namespace {

void add_model_options(CLI::App& app, ServeOptions& o) {
  app.add_option("MODEL", o.models,
                 "GGUF file, Hugging Face folder or cached name; MODEL=name names it");
  app.add_option("--model-repository", o.model_repository,
                 "Folder of further models (GGUF files, Hugging Face folders) by their names; all "
                 "models are then loaded on demand")
      ->envname("SLUICE_MODEL_REPOSITORY");
  app.add_option("--model-memory-bytes", o.model_memory,
                 "Load models when they are asked for, and keep so many bytes of them at most, "
                 "weights and caches together, such as 16G: the least recently used ones make room "
                 "(with --model-repository, default: three quarters of the memory at hand)")
      ->envname("SLUICE_MODEL_MEMORY_BYTES");
  app.add_option("--model-load-timeout", o.model_load_timeout_seconds,
                 "Seconds that a request waits for a model that is loaded on demand")
      ->envname("SLUICE_MODEL_LOAD_TIMEOUT")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  app.add_option("--served-model-name", o.served_model_names, "Names of the first model")
      ->envname("SLUICE_SERVED_MODEL_NAME");
  app.add_option("--max-model-len", o.max_model_len,
                 "Longest prompt plus answer, in tokens (0: the model's context)")
      ->envname("SLUICE_MAX_MODEL_LEN")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--chat-template", o.chat_template, "Jinja file, or the template itself")
      ->envname("SLUICE_CHAT_TEMPLATE");
  app.add_option("--weights-cache-dir", o.weights_cache_dir,
                 "Folder that keeps weights as this processor wants them, so that the next start "
                 "maps them instead of repacking; beside: the model's own folder (default: off)")
      ->envname("SLUICE_WEIGHTS_CACHE_DIR");
  app.add_option("--seed", o.seed, "Seed of the requests that bring none (-1: from the system)")
      ->envname("SLUICE_SEED")
      ->check(CLI::Range(-1L, std::numeric_limits<long>::max()))
      ->capture_default_str();
}

void add_engine_options(CLI::App& app, ServeOptions& o) {
  app.add_option("--max-num-seqs", o.max_num_seqs, "Sequences in one batch")
      ->envname("SLUICE_MAX_NUM_SEQS")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--max-num-batched-tokens", o.max_num_batched_tokens,
                 "Tokens of one step, prompts and answers together")
      ->envname("SLUICE_MAX_NUM_BATCHED_TOKENS")
      ->check(CLI::Range(1, 65536))
      ->capture_default_str();
  app.add_option("--max-step-stretch", o.max_step_stretch,
                 "How much longer a step may take for a prompt beside running streams: 1.25 is a "
                 "quarter (0: only --max-num-batched-tokens bounds a step)")
      ->envname("SLUICE_MAX_STEP_STRETCH")
      ->check(CLI::Range(0.0, 1000.0))
      ->capture_default_str();
  app.add_option("--speculative-config", o.speculative_config,
                 "Speculative decoding as vLLM has it: JSON with method (ngram, or draft_model "
                 "with model, a small model's file), num_speculative_tokens, prompt_lookup_min, "
                 "prompt_lookup_max, disable_by_batch_size; or none")
      ->envname("SLUICE_SPECULATIVE_CONFIG")
      ->capture_default_str();
  app.add_option("--block-size", o.block_size, "Tokens of one KV block")
      ->envname("SLUICE_BLOCK_SIZE")
      ->check(CLI::IsMember({8, 16, 32, 64, 128}))
      ->capture_default_str();
  app.add_option("--kv-cache-dtype", o.kv_cache_dtype,
                 "Type of K and V: auto (bf16 where the kernels multiply it and the weights are "
                 "quantized or BF16, else f16), f16, bf16, f32, int8")
      ->envname("SLUICE_KV_CACHE_DTYPE")
      ->capture_default_str();
  app.add_option(
         "--kv-cache-memory-bytes", o.kv_cache_memory,
         "Most memory for K and V, such as 2G (default: what the sequences need, at most half "
         "of the memory that weights and other models leave)")
      ->envname("SLUICE_KV_CACHE_MEMORY_BYTES");
  app.add_flag("--enable-prefix-caching,!--no-enable-prefix-caching", o.prefix_caching,
               "Reuse K and V of equal prompt beginnings (default: on)")
      ->envname("SLUICE_ENABLE_PREFIX_CACHING");
  app.add_option("--threads", o.threads, "Compute threads (0: one per core)")
      ->envname("SLUICE_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--isa", o.isa,
                 "Kernels to use: auto, reference, avx2, avxvnni, avx512, "
                 "avx512vnni, avx512bf16, neon, neondotprod, neoni8mm, neonbf16")
      ->envname("SLUICE_ISA")
      ->capture_default_str();
  app.add_option("--max-num-queued-reqs", o.max_queued_requests, "Requests that may wait")
      ->envname("SLUICE_MAX_NUM_QUEUED_REQS")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  app.add_option("--max-num-queued-tokens", o.max_queued_tokens, "Prompt tokens that may wait")
      ->envname("SLUICE_MAX_NUM_QUEUED_TOKENS")
      ->check(CLI::Range(1L, 1L << 40))
      ->capture_default_str();
}

void add_tls_options(CLI::App& app, ServeOptions& o) {
  auto* key = app.add_option("--ssl-keyfile", o.ssl_keyfile, "Private key of --ssl-certfile (PEM)")
                  ->envname("SLUICE_SSL_KEYFILE");
  app.add_option("--ssl-certfile", o.ssl_certfile,
                 "Certificate (PEM, with its chain): HTTPS instead of HTTP, and gRPC over TLS")
      ->envname("SLUICE_SSL_CERTFILE")
      ->needs(key);
  app.add_option("--ssl-ca-certs", o.ssl_ca_certs,
                 "Authorities (PEM) that client certificates are checked against")
      ->envname("SLUICE_SSL_CA_CERTS");
  app.add_option("--ssl-cert-reqs", o.ssl_cert_reqs,
                 "Certificates of clients: 0 not asked for, 1 optional, 2 required")
      ->envname("SLUICE_SSL_CERT_REQS")
      ->check(CLI::Range(0, 2))
      ->capture_default_str();
  app.add_flag("--enable-ssl-refresh,!--no-enable-ssl-refresh", o.ssl_refresh,
               "Take the TLS files anew when they change (default: on)")
      ->envname("SLUICE_ENABLE_SSL_REFRESH");
}

void add_traces_option(CLI::App& app, std::string& endpoint) {
  app.add_option("--otlp-traces-endpoint", endpoint,
                 "URL that traces are sent to as OTLP over HTTP, such as "
                 "http://collector:4318/v1/traces; else by OTEL_EXPORTER_OTLP_ENDPOINT");
}

void add_server_options(CLI::App& app, ServeOptions& o) {
  app.add_option("--host", o.host, "Address to listen on")
      ->envname("SLUICE_HOST")
      ->capture_default_str();
  app.add_option("--port", o.port, "Port to listen on (0: any free one)")
      ->envname("SLUICE_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--api-key", o.api_keys, "Key that callers must send; repeat it for several")
      ->envname("SLUICE_API_KEY");
  app.add_option("--grpc-port", o.grpc_port,
                 "Port of the Open Inference Protocol over gRPC, commonly 9000 (0: any free one; "
                 "-1: no gRPC)")
      ->envname("SLUICE_GRPC_PORT")
      ->check(CLI::Range(-1, 65535))
      ->capture_default_str();
  app.add_option("--admin-key", o.admin_keys,
                 "Key that may also load and unload models; repeat it for several")
      ->envname("SLUICE_ADMIN_KEY");
  app.add_option("--internal-token", o.internal_token,
                 "Token of the internal routes; without it they do not exist")
      ->envname("SLUICE_INTERNAL_TOKEN");
  app.add_flag("--metrics-public", o.metrics_public, "Answer /metrics without a key")
      ->envname("SLUICE_METRICS_PUBLIC");
  add_tls_options(app, o);
  app.add_option("--request-timeout", o.request_timeout_seconds,
                 "Seconds until a request is given up")
      ->envname("SLUICE_REQUEST_TIMEOUT")
      ->check(CLI::Range(1, 86400))
      ->capture_default_str();
  app.add_option("--shutdown-timeout", o.shutdown_timeout_seconds,
                 "Seconds that requests under way have to end after SIGTERM")
      ->envname("SLUICE_SHUTDOWN_TIMEOUT")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  add_traces_option(app, o.otlp_traces_endpoint);
  app.add_option("--log-level", o.log_level, "debug, info, warn, error or off")
      ->envname("SLUICE_LOG_LEVEL")
      ->capture_default_str();
}

void add_output_option(CLI::App& app, std::string& output) {
  app.add_option("-o,--output", output, "text or json")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
}

void add_chat_options(CLI::App& app, ChatOptions& o) {
  app.add_option("PROMPT", o.prompt, "Asked once, without a conversation");
  app.add_option("--url", o.url, "Server to talk to")->envname("SLUICE_URL")->capture_default_str();
  app.add_option("--api-key", o.api_key, "Key to send")->envname("SLUICE_API_KEY");
  app.add_option("--model", o.model, "Model to ask (default: the server's first)");
  app.add_option("--system", o.system, "System message");
  app.add_option("--temperature", o.temperature, "Sampling temperature");
  app.add_option("--top-p", o.top_p, "Nucleus sampling");
  app.add_option("--max-tokens", o.max_tokens, "Longest answer");
  add_output_option(app, o.output);
}

void add_bench_options(CLI::App& app, BenchOptions& o) {
  app.add_option("--url", o.url, "Server to load")->envname("SLUICE_URL")->capture_default_str();
  app.add_option("--api-key", o.api_key, "Key to send")->envname("SLUICE_API_KEY");
  app.add_option("--model", o.model, "Model to ask (default: the server's first)");
  app.add_option("--route", o.route, "completions or chat")
      ->check(CLI::IsMember({"completions", "chat"}))
      ->capture_default_str();
  app.add_option("--num-prompts", o.requests, "Requests in all")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option("--request-rate", o.request_rate,
                 "Requests a second (open loop); 0: one after another, --max-concurrency at a time")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  app.add_option("--burstiness", o.burstiness, "Shape of the gaps between arrivals; 1: Poisson")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--max-concurrency", o.concurrency, "Most requests at a time")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  app.add_option("--input-words", o.input_words, "Words of each prompt")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_option("--max-input-words", o.max_input_words,
                 "Draw the words of each prompt from --input-words to this (0: all alike)")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--prompt-file", o.prompt_file, "File whose text every prompt begins with");
  app.add_option("--prefix-words", o.prefix_words, "Words that all prompts begin with")
      ->check(CLI::Range(0, 1'000'000))
      ->capture_default_str();
  app.add_option("--output-tokens", o.output_tokens, "max_tokens of each request")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
  app.add_flag("--stream,!--no-stream", o.stream, "Ask for streams (default: on)");
  app.add_flag("--ignore-eos", o.ignore_eos, "Generate up to max_tokens whatever the model says");
  app.add_option("--temperature", o.temperature, "Of each request; above 0 each has its own seed")
      ->check(CLI::Range(0.0, 2.0))
      ->capture_default_str();
  app.add_option("--seed", o.seed, "Of prompts, arrivals and sampling")->capture_default_str();
  app.add_option("--goodput-ttft-ms", o.goodput_ttft_ms, "Bound of TTFT for goodput");
  app.add_option("--goodput-tpot-ms", o.goodput_tpot_ms, "Bound of TPOT for goodput");
  app.add_option("--goodput-e2el-ms", o.goodput_e2el_ms, "Bound of E2EL for goodput");
  add_output_option(app, o.output);
}

void add_inspect_options(CLI::App& app, InspectOptions& o) {
  app.add_option("MODEL", o.model, "GGUF file, Hugging Face folder or cached name")->required();
  app.add_flag("--tensors", o.tensors, "List the tensors too");
  add_output_option(app, o.output);
}

void add_pull_options(CLI::App& app, PullCliOptions& o) {
  app.add_option("SOURCE", o.source,
                 "A path, file:///path, https://host/x.gguf or "
                 "hf://owner/model[:revision][/file.gguf]");
  app.add_option("--name", o.name, "What to call it (default: after the source)");
  app.add_option("--checksum", o.checksum, "sha256:… that a source of one file must have");
  app.add_flag("--allow-http", o.allow_http, "Take http URLs too");
  app.add_flag("--list", o.list, "List what is cached");
  add_output_option(app, o.output);
}

void add_gateway_options(CLI::App& app, GatewayOptions& o) {
  app.add_option("--config", o.config,
                 "YAML file, or a directory of them; reloaded when it changes")
      ->envname("SLUICE_GATEWAY_CONFIG")
      ->required();
  app.add_flag(
      "--supervise", o.supervise,
      "Keep the gateway alive: another follows one that dies, SIGUSR2 starts a new version "
      "in its place; no connection is refused meanwhile");
  app.add_flag("--check", o.check, "Only say whether the configuration is good");
  app.add_option("--host", o.host, "Address to listen on, unless the configuration has 'listen'")
      ->envname("SLUICE_HOST")
      ->capture_default_str();
  app.add_option("--port", o.port, "Port to listen on, unless the configuration has 'listen'")
      ->envname("SLUICE_PORT")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  app.add_option("--grpc-port", o.grpc_port,
                 "Port of the Open Inference Protocol over gRPC, commonly 9000 (0: any free one; "
                 "-1: no gRPC)")
      ->envname("SLUICE_GRPC_PORT")
      ->check(CLI::Range(-1, 65535))
      ->capture_default_str();
  app.add_option("--io-threads", o.io_threads, "Event loops, each on a thread of its own")
      ->envname("SLUICE_IO_THREADS")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  app.add_option("--reload-interval", o.reload_seconds,
                 "Seconds between two looks at the configuration; SIGHUP looks at once")
      ->envname("SLUICE_RELOAD_INTERVAL")
      ->check(CLI::Range(1, 3600))
      ->capture_default_str();
  app.add_option("--shutdown-timeout", o.shutdown_timeout_seconds,
                 "Seconds that requests under way have to end after SIGTERM")
      ->envname("SLUICE_SHUTDOWN_TIMEOUT")
      ->check(CLI::Range(0, 86400))
      ->capture_default_str();
  add_traces_option(app, o.otlp_traces_endpoint);
  app.add_option("--log-level", o.log_level, "debug, info, warn, error or off")
      ->envname("SLUICE_LOG_LEVEL")
      ->capture_default_str();
}

void add_keep_options(CLI::App& app, KeepOptions& o) {
  app.add_option("FOLDER", o.folder, "Folder of the replica, with its spec.json")->required();
  app.add_option("--lock", o.lock, "Descriptor that holds the folder's lock (-1: none yet)")
      ->check(CLI::Range(-1, 1 << 20))
      ->capture_default_str();
}

void add_quantize_options(CLI::App& app, QuantizeOptions& o) {
  app.add_option("IN", o.input, "GGUF file or cached name; the first shard of a sharded one")
      ->required();
  app.add_option("OUT", o.output_file, "GGUF file to write")->required();
  app.add_option("TYPE", o.type, "Q8_0, Q6_K, Q4_K, Q4_0, F16 or BF16")->required();
  app.add_flag("--force", o.force, "Replace OUT if it exists");
  app.add_option("--threads", o.threads, "Compute threads (0: one per core)")
      ->envname("SLUICE_THREADS")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  add_output_option(app, o.output);
}

void add_tokenize_options(CLI::App& app, TokenizeOptions& o) {
  app.add_option("MODEL", o.model, "GGUF file, Hugging Face folder or cached name")->required();
  app.add_option("TEXT", o.text, "Text, or ids with --decode (default: standard input)");
  app.add_flag("--special,!--no-special", o.special,
               "Add BOS and EOS as the model wants them, and read special tokens in the text");
  app.add_flag("--decode", o.decode, "Turn token ids into text");
  add_output_option(app, o.output);
}

}  // namespace

int run(int argc, char** argv) {
  CLI::App app("Sluice serves large language models.", "sluice");
  app.set_version_flag("--version", build_description());
  app.require_subcommand(1);

  ServeOptions serve;
  CLI::App* serve_command = app.add_subcommand("serve", "Serve models over HTTP");
  add_model_options(*serve_command, serve);
  add_server_options(*serve_command, serve);
  add_engine_options(*serve_command, serve);
  std::string config;
  serve_command->add_option("--config", config, "YAML file with further options")
      ->envname("SLUICE_CONFIG");

  GatewayOptions gateway;
  CLI::App* gateway_command =
      app.add_subcommand("gateway", "One front door before several servers");
  add_gateway_options(*gateway_command, gateway);

  ChatOptions chat;
  CLI::App* chat_command = app.add_subcommand("chat", "Talk to a served model");
  add_chat_options(*chat_command, chat);

  BenchOptions bench;
  CLI::App* bench_command = app.add_subcommand("bench", "Load a server and measure it");
  add_bench_options(*bench_command, bench);

  InspectOptions inspect;
  CLI::App* inspect_command = app.add_subcommand("inspect", "Show what a model file holds");
  add_inspect_options(*inspect_command, inspect);

  PullCliOptions pull;
  CLI::App* pull_command =
      app.add_subcommand("pull", "Bring a model into the cache, to be served by its name");
  add_pull_options(*pull_command, pull);

  QuantizeOptions quantize;
  CLI::App* quantize_command =
      app.add_subcommand("quantize", "Write a model file with smaller weights");
  add_quantize_options(*quantize_command, quantize);

  TokenizeOptions tokenize;
  CLI::App* tokenize_command = app.add_subcommand("tokenize", "Show how a model reads text");
  add_tokenize_options(*tokenize_command, tokenize);

  std::vector<Command> commands;
  add_platform_commands(app, commands);
  add_client_commands(app, commands);

  KeepOptions keep;
  CLI::App* keep_command = app.add_subcommand(
      "keep", "Keep one replica running (internal: the platform starts it for each)");
  add_keep_options(*keep_command, keep);

  CLI::App* reference_command =
      app.add_subcommand("reference", "Print all options as a Markdown page");

  try {
    app.parse(argc, argv);
    if (!config.empty()) apply_yaml(*serve_command, config);
  } catch (const CLI::ParseError& e) {
    const int status = app.exit(e);
    return status == 0 ? 0 : 2;
  }
  if (reference_command->parsed()) {
    std::cout << reference_page(app);
    return 0;
  }
  for (const auto& [command, run_it] : commands) {
    if (command->parsed()) return run_it();
  }
  gateway.command.assign(argv, argv + argc);
  if (gateway_command->parsed()) return run_gateway(gateway);
  if (keep_command->parsed()) return run_keep(keep);
  if (chat_command->parsed()) return run_chat(chat);
  if (bench_command->parsed()) return run_bench(bench);
  if (inspect_command->parsed()) return run_inspect(inspect);
  if (pull_command->parsed()) return run_pull(pull);
  if (quantize_command->parsed()) return run_quantize(quantize);
  if (tokenize_command->parsed()) return run_tokenize(tokenize);
  return run_serve(serve);
}

}  // namespace sluice::cli
