#include "gateway/graph_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "endpoint/error_shape.h"
#include "gateway/forward.h"

namespace sluice::gateway {
namespace {

constexpr Duration kBackoff = std::chrono::milliseconds(50);  // doubled each time
constexpr int kNotFound = 404;

bool worth_retrying(int status) { return status >= 500 || status == 429; }

}  // namespace

struct GraphRun::Sequence {
  const Graph::Node& node;
  GraphBody input;
  bool last;
  Done done;
  size_t next = 0;
  Answer before{};
};

struct GraphRun::Ensemble {
  const Graph::Node& node;
  Done done;
  std::vector<Answer> answers{};
  size_t missing = 0;
  bool over = false;
};

// One step, with its tries.
struct GraphRun::Try {
  Try(net::EventLoop& loop, const Graph::Node& in, const Graph::Step& which)
      : node(in), step(which), timer(loop, [this] {
          const auto action = on_time;  // it may be given another one meanwhile
          action();
        }) {}

  const Graph::Node& node;
  const Graph::Step& step;
  GraphInput input;
  bool last = false;
  Done done;
  StepQuestion question;
  std::shared_ptr<StepResponder> responder;
  std::shared_ptr<UrlCall> call;
  int tried = 0;
  bool passed = false;
  std::function<void()> on_time;
  net::EventLoop::Timer timer;

  void stop() {
    timer.clear();
    if (responder) responder->leave();
    if (call) call->cancel();
    responder.reset();
    call.reset();
  }
};

void GraphRun::begin(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
                     const Graph& graph, RelayRequest request) {
  auto run = std::make_shared<GraphRun>(host, loop, client, graph, std::move(request));
  run->self_ = run;
  run->request_.responder->on_close([weak = std::weak_ptr(run), loop = std::move(loop)] {
    loop->post([weak] {
      if (const auto alive = weak.lock()) alive->on_client_gone();
    });
  });
  run->deadline_.set(net::EventLoop::now() + graph.settings().timeout);
  run->run_node(graph.entry(), run->body_, true, [weak = std::weak_ptr(run)](Answer answer) {
    if (const auto alive = weak.lock()) alive->finish(std::move(answer));
  });
}

GraphRun::GraphRun(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
                   const Graph& graph, RelayRequest request)
    : host_(host),
      kept_loop_(std::move(loop)),
      loop_(*kept_loop_),
      client_(client),
      graph_(graph),
      request_(std::move(request)),
      body_(std::make_shared<const std::string>(std::move(request_.http.body))),
      deadline_(loop_, [this] {
        finish({.error = Status(Code::kDeadlineExceeded,
                                fmt::format("graph {}: its time is over", graph_.settings().name),
                                {}, "graph_timeout")});
      }) {
  for (const auto& [name, value] : request_.http.headers) {
    if (name != "content-length" && name != "transfer-encoding" && name != "content-type" &&
        name != "traceparent" && name != "expect") {
      headers_.emplace_back(name, value);
    }
  }
  headers_.emplace_back("content-type", "application/json");
  headers_.emplace_back("traceparent", request_.traceparent);
}

template <typename Compute, typename Then>
void GraphRun::work(Compute compute, Then then, const Done& done) {
  const Outcome queued = host_.workers.submit(
      [self = shared_from_this(), compute = std::move(compute), then = std::move(then)]() mutable {
        auto result = std::make_shared<decltype(compute())>(compute());
        self->loop_.post([self, then = std::move(then), result]() mutable {
          if (!self->over_) then(std::move(*result));
        });
      });
  if (!queued) done({.error = queued.error()});
}

Status GraphRun::error_at(const Graph::Node& node, std::string_view step, const Status& why) const {
  const std::string place =
      fmt::format("graph {}, node {}, step {}", graph_.settings().name, node.settings->name, step);
  return {why.code(),
          fmt::format("{}: {}", place, why.message()),
          {},
          why.reason().empty() ? "graph_step_failed" : why.reason()};
}

GraphInput GraphRun::input_of(const GraphBody& input, GraphBody response) const {
  return {.request = body_,
          .input = input,
          .response = std::move(response),
          .answers = graph_.has_templates() ? answers_ : std::map<std::string, GraphBody>{},
          .path = request_.http.path};
}

void GraphRun::run_node(const Graph::Node& node, const GraphBody& input, bool last, Done done) {
  if (over_) return;
  switch (node.settings->type) {
    case plan::GraphNodeType::kSequence: {
      const auto sequence = std::make_shared<Sequence>(node, input, last, std::move(done));
      return next_of(sequence);
    }
    case plan::GraphNodeType::kSplitter:
      return run_step(node, graph_.draw(node), input_of(input, nullptr), last, std::move(done));
    case plan::GraphNodeType::kSwitch:
      return run_switch(node, input, last, std::move(done));
    case plan::GraphNodeType::kEnsemble:
      return run_ensemble(node, input, std::move(done));
  }
}

void GraphRun::next_of(const std::shared_ptr<Sequence>& sequence) {
  if (over_) return;
  const Graph::Node& node = sequence->node;
  const size_t at = sequence->next++;
  if (at == node.steps.size()) return sequence->done(std::move(sequence->before));
  const Graph::Step& step = node.steps[at];
  const bool last = sequence->last && at + 1 == node.steps.size();
  const auto go = [this, sequence, &node, &step, last] {
    run_step(node, step, input_of(sequence->input, sequence->before.body), last,
             [this, sequence, &step](Answer answer) {
               const bool ends =
                   answer.error || answer.passed || (step.settings->hard && !answer.good());
               sequence->before = std::move(answer);
               if (ends) return sequence->done(std::move(sequence->before));
               next_of(sequence);
             });
  };
  if (!step.condition) return go();
  const GraphBody looked_at = at == 0 ? sequence->input : sequence->before.body;
  work([&step, looked_at] { return condition_holds(step, looked_at); },
       [this, sequence, &node, &step, go](Result<bool> holds) {
         if (!holds) return sequence->done({.error = error_at(node, step.label, holds.error())});
         if (*holds) return go();
         // It ends here, with what there is.
         Answer answer = std::move(sequence->before);
         if (!answer.body) {
           answer = {.status = 200, .content_type = "application/json", .body = sequence->input};
         }
         answer.status = 200;
         sequence->done(std::move(answer));
       },
       sequence->done);
}

void GraphRun::run_switch(const Graph::Node& node, const GraphBody& input, bool last, Done done) {
  work(
      [&node, input]() -> Result<const Graph::Step*> {
        for (const Graph::Step& step : node.steps) {
          SLUICE_ASSIGN_OR_RETURN(const bool holds, condition_holds(step, input));
          if (holds) return &step;
        }
        return nullptr;
      },
      [this, &node, input, last, done](Result<const Graph::Step*> chosen) {
        if (!chosen) return done({.error = error_at(node, "(choice)", chosen.error())});
        if (*chosen == nullptr) {
          return done(
              {.status = kNotFound,
               .error = error_at(node, "(choice)",
                                 {Code::kNotFound, "no condition holds", {}, "no_branch"})});
        }
        run_step(node, **chosen, input_of(input, nullptr), last, done);
      },
      done);
}

void GraphRun::run_ensemble(const Graph::Node& node, const GraphBody& input, Done done) {
  const auto ensemble = std::make_shared<Ensemble>(node, std::move(done));
  ensemble->answers.resize(node.steps.size());
  ensemble->missing = node.steps.size();
  for (size_t i = 0; i < node.steps.size(); ++i) {
    run_step(node, node.steps[i], input_of(input, nullptr), false,
             [this, ensemble, i](Answer answer) {
               if (ensemble->over) return;
               const bool ends =
                   answer.error || (ensemble->node.steps[i].settings->hard && !answer.good());
               if (ends) {
                 ensemble->over = true;
                 return ensemble->done(std::move(answer));
               }
               ensemble->answers[i] = std::move(answer);
               if (--ensemble->missing == 0) join(ensemble);
             });
    if (over_) return;
  }
}

void GraphRun::join(const std::shared_ptr<Ensemble>& ensemble) {
  std::vector<std::pair<std::string, GraphBody>> parts;
  for (size_t i = 0; i < ensemble->answers.size(); ++i) {
    parts.emplace_back(ensemble->node.steps[i].label, ensemble->answers[i].body);
  }
  work([parts = std::move(parts)] { return joined_answers(parts); },
       [this, ensemble](Result<std::string> joined) {
         if (!joined) {
           return ensemble->done({.error = error_at(ensemble->node, "(all)", joined.error())});
         }
         ensemble->done({.status = 200,
                         .content_type = "application/json",
                         .body = std::make_shared<const std::string>(*std::move(joined))});
       },
       ensemble->done);
}

void GraphRun::run_step(const Graph::Node& node, const Graph::Step& step, GraphInput input,
                        bool last, Done done) {
  if (over_) return;
  if (++steps_ > kMaxSteps) {
    return done(
        {.error = error_at(node, step.label,
                           {Code::kInternal, fmt::format("more than {} steps", kMaxSteps)})});
  }
  auto tried = std::make_shared<Try>(loop_, node, step);
  tried->input = std::move(input);
  tried->last = last;
  tried->done = std::move(done);
  const Route* route =
      step.settings->route.empty() ? nullptr : request_.snapshot->find_route(step.settings->route);
  work(
      [tried, route, now = host_.clock.unix_seconds()] {
        return step_question(tried->step, tried->input, route, tried->last, now);
      },
      [this, tried](Result<StepQuestion> question) {
        if (!question) {
          return tried->done({.error = error_at(tried->node, tried->step.label, question.error())});
        }
        tried->question = *std::move(question);
        attempt(tried);
      },
      tried->done);
}

void GraphRun::attempt(const std::shared_ptr<Try>& step) {
  if (over_) return;
  const plan::GraphStep& settings = *step->step.settings;
  ++step->tried;
  tries_.insert(step);
  if (settings.timeout > Duration::zero()) {
    step->on_time = [this, weak = std::weak_ptr(step)] {
      const auto alive = weak.lock();
      if (!alive || alive->passed) return;
      heard(alive, fail(Code::kDeadlineExceeded, "it did not answer in time", {}, "step_timeout"));
    };
    step->timer.set(net::EventLoop::now() + settings.timeout);
  }
  if (!settings.route.empty()) return ask_route(step);
  if (!settings.url.empty()) return ask_url(step);
  const auto input = std::make_shared<const std::string>(step->question.body);
  run_node(*graph_.find(settings.node), input, step->last, [this, step](Answer answer) {
    if (tries_.contains(step)) decide(step, std::move(answer));
  });
}

void GraphRun::ask_route(const std::shared_ptr<Try>& step) {
  RelayRequest own;
  own.http.method = "POST";
  own.http.target = own.http.path = step->question.path;
  own.http.headers = headers_;
  own.http.body = step->question.body;
  own.http.peer = request_.http.peer;
  own.snapshot = request_.snapshot;
  own.route = request_.snapshot->find_route(step->step.settings->route);
  own.caller = request_.caller;
  own.traceparent = request_.traceparent;
  step->responder = std::make_shared<StepResponder>(
      loop_, step->last ? request_.responder : nullptr, request_.record.id,
      StepResponder::Callbacks{
          .on_passed =
              [this, self = shared_from_this(), step] {
                step->passed = true;
                step->timer.clear();
                deadline_.clear();
                request_.record.stream = true;
                request_.record.first_byte = host_.clock.now() - request_.record.began;
              },
          .on_answer = [this, self = shared_from_this(), step](
                           Result<net::HttpResponse> answer) { heard(step, std::move(answer)); }});
  own.responder = step->responder;
  host_.ask(std::move(own));
}

void GraphRun::ask_url(const std::shared_ptr<Try>& step) {
  const plan::GraphStep& settings = *step->step.settings;
  net::Headers headers = {{"Content-Type", "application/json"},
                          {"X-Request-Id", request_.record.id},
                          {"traceparent", request_.traceparent}};
  for (const std::string& name : graph_.settings().headers) {
    if (const auto value = net::find_header(headers_, name); !value.empty()) {
      headers.emplace_back(name, value);
    }
  }
  const Duration time =
      settings.timeout > Duration::zero() ? settings.timeout : graph_.settings().timeout;
  auto told = [this, self = shared_from_this(), step](Result<net::HttpResponse> answer) {
    heard(step, std::move(answer));
  };
  auto call = UrlCall::begin(kept_loop_, client_, settings.url, std::move(headers),
                             step->question.body, time, std::move(told));
  if (tries_.contains(step)) step->call = std::move(call);
}

void GraphRun::heard(const std::shared_ptr<Try>& step, Result<net::HttpResponse> answer) {
  if (over_ || !tries_.contains(step)) return;
  if (!answer) {
    Answer none{.error = error_at(step->node, step->step.label, answer.error())};
    none.passed = step->passed;
    return decide(step, std::move(none));
  }
  decide(step, {.status = answer->status,
                .content_type = std::string(net::find_header(answer->headers, "content-type")),
                .body = std::make_shared<const std::string>(std::move(answer->body)),
                .passed = step->passed});
}

// What comes of a try: its answer, another try, or the fallback.
void GraphRun::decide(const std::shared_ptr<Try>& step, Answer answer) {
  step->stop();
  tries_.erase(step);
  loop_.post([step] {});  // it must not end inside its own timer
  const plan::GraphStep& settings = *step->step.settings;
  if (answer.good() || answer.passed) {
    if (answer.body) answers_[step->step.label] = answer.body;
    return step->done(std::move(answer));
  }
  const bool again = answer.error ? answer.error->code() != Code::kPermissionDenied
                                  : worth_retrying(answer.status);
  if (again && step->tried <= settings.retries) {
    tries_.insert(step);
    step->on_time = [this, weak = std::weak_ptr(step)] {
      if (const auto alive = weak.lock()) attempt(alive);
    };
    step->timer.set(net::EventLoop::now() + kBackoff * (1 << std::min(step->tried - 1, 6)));
    return;
  }
  if (!settings.fallback.empty()) {
    const auto input = std::make_shared<const std::string>(step->question.body);
    return run_node(*graph_.find(settings.fallback), input, step->last, step->done);
  }
  if (answer.body) answers_[step->step.label] = answer.body;
  step->done(std::move(answer));
}

void GraphRun::finish(Answer answer) {
  if (over_) return;
  const auto kept = shared_from_this();
  RequestRecord& record = request_.record;
  if (answer.passed) {
    if (answer.error) record.ending = Ending::kCut;
    record.status = answer.error ? 200 : answer.status;
    return over();
  }
  net::HttpResponse response;
  if (answer.error) {
    response = endpoint::shaped_error(request_.http.path, *answer.error);
    record.ending = Ending::kRefused;
    record.error = answer.error->reason();
  } else {
    response.status = answer.status;
    response.headers.emplace_back("Content-Type", answer.content_type.empty()
                                                      ? "application/json"
                                                      : std::move(answer.content_type));
    response.body = *answer.body;
  }
  response.headers.emplace_back("X-Request-Id", record.id);
  record.status = response.status;
  record.bytes_out = response.body.size();
  request_.responder->send(std::move(response));
  over();
}

void GraphRun::on_client_gone() {
  if (over_) return;
  request_.record.ending = Ending::kClientGone;
  over();
}

void GraphRun::over() {
  if (std::exchange(over_, true)) return;
  const auto kept = std::exchange(self_, nullptr);
  deadline_.disarm();
  for (const auto& step : std::exchange(tries_, {})) {
    step->stop();
    step->timer.disarm();
    loop_.post([step] {});  // it must not end inside its own timer
  }
  loop_.post([kept] {});
  request_.responder.reset();
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
