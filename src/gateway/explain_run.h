// ExplainRun: POST /v1/models/NAME:explain. How much each part of a prompt has to do with the
// answer: the answer's tokens are scored behind the prompt, and behind the prompt without each of
// its parts; what their log-probability loses is the part's.
//
// It asks its own route, or the one that the plan names, as any client could: the answer
// (temperature 0), the tokens of each prompt, then all prompts with the answer behind them, many in
// one request, for the log-probabilities of given tokens (prompt_logprobs, which a runtime computes
// without its prefix cache). So keys, limits and queues hold for each of these requests.
//
// On the loop that the request came in on; what is asked is made, and answers are read, on the
// workers. Keeps itself alive until it is over.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/explain_parts.h"
#include "gateway/graph_run.h"
#include "gateway/relay.h"
#include "gateway/step_responder.h"
#include "net/event_loop.h"

namespace sluice::gateway {

class ExplainRun : public std::enable_shared_from_this<ExplainRun> {
 public:
  // The route explains.
  static void begin(StepHost& host, net::EventLoop& loop, RelayRequest request);
  // Use begin().
  ExplainRun(StepHost& host, net::EventLoop& loop, RelayRequest request);

 private:
  using Make = std::function<json::object()>;  // of a request's body, on a worker
  using Then = std::function<void(json::value answer)>;

  void start();
  Outcome read();
  void ask_for_answer();
  void ask(std::string path, Make make, Then then);
  void send_own(std::string path, std::string body, Then then);
  // `compute` on a worker, `then` with what it gave on the loop, unless all is over by then.
  template <typename Compute, typename Next>
  void work(Compute compute, Next next);
  void take_answer(const json::value& answer);
  void next_tokens();
  void next_scores();
  void take_scores(const json::value& answer);
  Outcome read_scores(const json::object& choice);
  void finish();
  void fail_with(const Status& status);
  void send(net::HttpResponse response);
  void on_client_gone();
  void over();

  StepHost& host_;
  net::EventLoop& loop_;
  RelayRequest request_;
  ExplainQuestion question_;
  std::vector<PromptPart> parts_;
  std::string answer_;
  std::vector<int64_t> answer_ids_;
  std::vector<std::string> answer_tokens_;
  size_t held_tokens_ = 0;                     // in all of them
  std::vector<std::vector<int64_t>> prompts_;  // tokens: whole, then without each part
  std::vector<std::vector<double>> scores_;    // of the same
  size_t asked_scores_ = 0;
  std::shared_ptr<StepResponder> under_way_;
  bool over_ = false;
  std::shared_ptr<ExplainRun> self_;  // until it is over
  net::EventLoop::Timer deadline_;
};

}  // namespace sluice::gateway
