// Backend: where completions come from. The endpoints work on this interface alone;
// serving::LocalBackend answers from engines in this process, the gateway's will answer from other
// processes.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/prefix_hash.h"
#include "base/status.h"
#include "completion/request.h"

namespace sluice::completion {

// Receives one request's answer. Calls come one at a time, from a thread of the backend, and must
// not block: on_start, then deltas, prompt_logprobs at most once per prompt, and at last exactly
// one of on_done and on_error.
class ResponseSink {
 public:
  virtual ~ResponseSink() = default;
  virtual void on_start(PromptInfo info) = 0;
  virtual void on_prompt_logprobs(int prompt, std::vector<LogprobEntry> entries) = 0;
  virtual void on_delta(Delta delta) = 0;
  virtual void on_done(const Usage& usage) = 0;
  virtual void on_error(const Status& status) = 0;
};

// A request under way. Thread-safe. Dropping the handle does not cancel.
class Call {
 public:
  virtual ~Call() = default;
  // Nobody wants the answer any more: it takes effect before the next step; the sink may still be
  // called until then.
  virtual void cancel() = 0;
};

struct ModelCard {
  std::string id;
  std::string root;  // the file or folder it was loaded from, by name
  int max_model_len = 0;
  double created = 0;       // Unix seconds
  std::string fingerprint;  // numerics id: equal ids give equal tokens
  std::string primary{};    // the first name of the model that `id` names
  int block_size = 0;       // tokens of a block of its prefix cache; 0: not known
  bool loaded = true;       // else a request has to wait for that
};

// Is told what a model's prefix cache holds. Calls come one at a time, from a thread of the
// backend, and must not block.
class BlockWatcher {
 public:
  virtual ~BlockWatcher() = default;
  // The first call tells all that is held, those behind it what has changed since.
  virtual void on_blocks(std::span<const PrefixChange> changes) = 0;
  // It is not to be told any more. Any thread.
  virtual bool over() const = 0;
};

// How much the engines behind a backend have to do.
struct Load {
  int running = 0;
  int waiting = 0;
  int64_t waiting_tokens = 0;
  int64_t kv_blocks_used = 0;
  int64_t kv_blocks_total = 0;
};

struct TokenizeRequest {
  std::string model;
  Prompt prompt;
  bool with_pieces = false;
};

struct TokenizeResult {
  std::vector<int32_t> tokens;
  std::vector<std::string> pieces;
  int max_model_len = 0;
};

// All methods are callable from any thread. generate, tokenize and detokenize work on the caller's
// thread up to the hand-over (template, tokenizing): call them from a worker, not from an IO loop.
class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::vector<ModelCard> models() const = 0;
  // The model that `name` means (aliases too; an empty name means the only or first one).
  virtual Result<ModelCard> find_model(const std::string& name) const = 0;
  // Fails before anything was accepted; otherwise the sink hears the end.
  virtual Result<std::shared_ptr<Call>> generate(Request request,
                                                 std::shared_ptr<ResponseSink> sink) = 0;
  virtual Result<TokenizeResult> tokenize(const TokenizeRequest& request) const = 0;
  virtual Result<std::string> detokenize(const std::string& model,
                                         const std::vector<int32_t>& tokens) const = 0;
  // True when a request would be served now.
  virtual bool ready() const = 0;
  // Engine steps so far of the model: advances while the engine lives and has work.
  virtual uint64_t steps(const std::string& model) const = 0;
  // The first call comes before this returns. Refused where there is no prefix cache to tell of
  // (kUnimplemented), or too many watch it.
  virtual Outcome watch_blocks(const std::string& model,
                               const std::shared_ptr<BlockWatcher>& watcher) {
    static_cast<void>(model);
    static_cast<void>(watcher);
    return fail(Code::kUnimplemented, "there is no prefix cache here");
  }
  // Whether models come and go as they are told to.
  virtual bool changes_models() const { return false; }
  // Loads a model that is known, or unloads it. `done` is told how that went: at once, or later on
  // a thread of the backend.
  virtual void change_model(const std::string& model, bool load,
                            const std::function<void(Outcome)>& done) {
    static_cast<void>(model);
    static_cast<void>(load);
    done(fail(Code::kUnimplemented, "models stay as they are while the server runs"));
  }
  // Of all models together; zeros where it is not known.
  virtual Load load() const { return {}; }
};

}  // namespace sluice::completion
