// GraphRun: one request answered by a graph. Steps ask routes of this gateway in this process, with
// all that holds there (limits, retries, streams that outlive their replica), or services by URL.
//
//   sequence   one step after the other, on the node's input or on the answer before; a condition
//              that the answer before does not meet ends it with that answer
//   switch     the first step whose condition the input meets; none: 404
//   splitter   one step, by exact weights
//   ensemble   all at once; their answers, which must be objects, by the steps' names
//
// A hard step's answer outside of 2xx is its node's answer; a soft one's goes on. No answer at all
// ends the node either way. What is the graph's last word may be a stream, which passes through as
// it comes; the time of all steps that lead to it, and the graph's, are over with its first byte. A
// stream that ends with an error, or is cut, is on the graph's record too.
// What is given up (a try that took too long, an ensemble that has failed) takes along all that it
// had begun.
//
// On the loop that the request came in on; bodies are read and made on the workers. Keeps itself
// alive until it is over.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "base/worker_pool.h"
#include "gateway/graph.h"
#include "gateway/graph_body.h"
#include "gateway/relay.h"
#include "gateway/step_responder.h"
#include "gateway/url_call.h"
#include "net/client.h"
#include "net/event_loop.h"

namespace sluice::gateway {

// What the gateway's own requests to its routes need. Outlives them.
struct StepHost {
  const Clock& clock;
  WorkerPool& workers;
  // A request of the gateway's own to `request.route`, on a loop's thread. Its record is made.
  std::function<void(RelayRequest request)> ask;
  std::function<void(RequestRecord& record)> on_over;

  // `compute` on a worker, then `then` with what it gave on the loop's thread. Fails when too much
  // waits for the workers. What both hold goes on the loop's thread, never on the worker's.
  template <typename Compute, typename Then>
  Outcome work(net::EventLoop& loop, Compute compute, Then then) {
    struct Job {
      Compute compute;
      Then then;
      std::optional<std::invoke_result_t<Compute&>> result = {};
    };
    return workers.submit(
        [&loop, job = std::make_shared<Job>(std::move(compute), std::move(then))]() mutable {
          job->result.emplace(job->compute());
          loop.post([job = std::move(job)] { job->then(*std::move(job->result)); });
        });
  }
};

class GraphRun : public std::enable_shared_from_this<GraphRun> {
 public:
  static constexpr int kMaxSteps = 256;  // of one request

  // `request.snapshot` keeps the graph.
  static void begin(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
                    const Graph& graph, RelayRequest request);
  // Use begin().
  GraphRun(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
           const Graph& graph, RelayRequest request);

 private:
  struct Answer {
    int status = 0;
    std::string content_type = {};
    GraphBody body = {};
    bool passed = false;               // the client has it
    std::optional<Status> error = {};  // there was no answer
    bool good() const { return !error && status >= 200 && status < 300; }
  };
  using Done = std::function<void(Answer answer)>;
  struct Scope;
  struct Sequence;
  struct Ensemble;
  struct Try;
  // Of a node or a step that is run.
  struct Course {
    std::shared_ptr<Scope> scope;  // that it is given up with
    bool last = false;             // its answer is the graph's
    Done done;
  };

  void run_node(const Graph::Node& node, const GraphBody& input, Course course);
  void run_switch(const Graph::Node& node, const GraphBody& input, const Course& course);
  void run_ensemble(const Graph::Node& node, const GraphBody& input, Course course);
  void next_of(const std::shared_ptr<Sequence>& sequence);
  void join(const std::shared_ptr<Ensemble>& ensemble);

  void run_step(const Graph::Node& node, const Graph::Step& step, GraphInput input, Course course);
  void attempt(const std::shared_ptr<Try>& step);
  void ask_node(const std::shared_ptr<Try>& step);
  void ask_route(const std::shared_ptr<Try>& step);
  void ask_url(const std::shared_ptr<Try>& step);
  void heard(const std::shared_ptr<Try>& step, Result<net::HttpResponse> answer);
  void decide(const std::shared_ptr<Try>& step, Answer answer);
  void on_passed(const std::shared_ptr<Try>& step);
  bool may_run_out();
  // Both: whether the client has got a part of an answer by what ends here.
  bool end_try(const std::shared_ptr<Try>& step);
  bool give_up(Scope& scope);
  GraphInput input_of(const GraphBody& input, GraphBody response) const;
  Status error_at(const Graph::Node& node, std::string_view step, const Status& why) const;

  // `compute` on a worker, `then` with what it gave on the loop, unless it was given up by then.
  template <typename Compute, typename Then>
  void work(Compute compute, Then then, const Course& course);

  void finish(Answer answer);
  void on_client_gone();
  void over();

  StepHost& host_;
  const std::shared_ptr<net::EventLoop> kept_loop_;
  net::EventLoop& loop_;
  net::HttpClient& client_;
  const Graph& graph_;
  RelayRequest request_;
  GraphBody body_;
  net::Headers headers_;  // that go along
  std::map<std::string, GraphBody> answers_;
  std::set<std::shared_ptr<Try>> tries_;  // under way
  int steps_ = 0;
  bool over_ = false;
  std::shared_ptr<GraphRun> self_;  // until it is over
  net::EventLoop::Timer deadline_;
};

}  // namespace sluice::gateway
