#include "gateway/graph_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "endpoint/error_shape.h"
#include "gateway/forward.h"

namespace sluice::gateway {
namespace {

constexpr Duration kBackoff = std::chrono::milliseconds(50);  // doubled each time
constexpr int kOk = 200;
constexpr int kNotFound = 404;

bool worth_retrying(int status) { return status >= 500 || status == 429; }

}  // namespace

// What was begun for the sake of one thing: nothing in it is heard once that is over.
struct GraphRun::Scope {
  std::shared_ptr<Scope> above;  // null: the whole run's
  std::weak_ptr<Try> of;         // a try of a step that is a node; empty: none
  bool over = false;

  bool gone() const { return over || (above && above->gone()); }
};

struct GraphRun::Sequence {
  const Graph::Node& node;
  GraphBody input;
  Course course;
  size_t next = 0;
  Answer before{};
};

struct GraphRun::Ensemble {
  const Graph::Node& node;
  Course course;
  std::shared_ptr<Scope> scope;  // of its steps
  std::vector<Answer> answers{};
  size_t missing = 0;
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
  Course course;
  StepQuestion question;
  std::shared_ptr<StepResponder> responder;
  std::shared_ptr<UrlCall> call;
  std::shared_ptr<Scope> below;  // of a try by a node
  int tried = 0;
  bool passed = false;
  uint64_t sent = 0;  // to the client, by tries that are over
  std::function<void()> on_time;
  net::EventLoop::Timer timer;

  // Whether the client has got a part of its answer.
  bool stop() {
    timer.clear();
    passed = (responder && responder->leave()) || passed;
    if (responder) sent += responder->sent();
    if (call) call->cancel();
    responder.reset();
    call.reset();
    return passed;
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
  run->run_node(graph.entry(), run->body_,
                {.scope = std::make_shared<Scope>(),
                 .last = true,
                 .done = [weak = std::weak_ptr(run)](Answer answer) {
                   if (const auto alive = weak.lock()) alive->finish(std::move(answer));
                 }});
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
        if (!may_run_out()) return;
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
void GraphRun::work(Compute compute, Then then, const Course& course) {
  const Outcome queued = host_.work(loop_, std::move(compute),
                                    [self = shared_from_this(), then = std::move(then),
                                     scope = course.scope](auto result) mutable {
                                      if (!self->over_ && !scope->gone()) then(std::move(result));
                                    });
  if (!queued) course.done({.error = queued.error()});
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

void GraphRun::run_node(const Graph::Node& node, const GraphBody& input, Course course) {
  if (over_) return;
  switch (node.settings->type) {
    case plan::GraphNodeType::kSequence:
      return next_of(std::make_shared<Sequence>(node, input, std::move(course)));
    case plan::GraphNodeType::kSplitter:
      return run_step(node, graph_.draw(node), input_of(input, nullptr), std::move(course));
    case plan::GraphNodeType::kSwitch:
      return run_switch(node, input, course);
    case plan::GraphNodeType::kEnsemble:
      return run_ensemble(node, input, std::move(course));
  }
}

void GraphRun::next_of(const std::shared_ptr<Sequence>& sequence) {
  if (over_) return;
  const Graph::Node& node = sequence->node;
  const Course& course = sequence->course;
  const size_t at = sequence->next++;
  if (at == node.steps.size()) return course.done(std::move(sequence->before));
  const Graph::Step& step = node.steps[at];
  const auto go = [this, sequence, &node, &step, last = at + 1 == node.steps.size()] {
    Course of_step{.scope = sequence->course.scope,
                   .last = sequence->course.last && last,
                   .done = [this, sequence, &step](Answer answer) {
                     const bool ends =
                         answer.error || answer.passed || (step.settings->hard && !answer.good());
                     sequence->before = std::move(answer);
                     if (ends) return sequence->course.done(std::move(sequence->before));
                     next_of(sequence);
                   }};
    run_step(node, step, input_of(sequence->input, sequence->before.body), std::move(of_step));
  };
  if (!step.condition) return go();
  const GraphBody looked_at = at == 0 ? sequence->input : sequence->before.body;
  work([&step, looked_at] { return condition_holds(step, looked_at); },
       [this, sequence, &node, &step, go](Result<bool> holds) {
         const Done& done = sequence->course.done;
         if (!holds) return done({.error = error_at(node, step.label, holds.error())});
         if (*holds) return go();
         // It ends here, with what there is.
         Answer answer = std::move(sequence->before);
         if (!answer.body) {
           answer = {.status = 200, .content_type = "application/json", .body = sequence->input};
         }
         answer.status = 200;
         done(std::move(answer));
       },
       course);
}

void GraphRun::run_switch(const Graph::Node& node, const GraphBody& input, const Course& course) {
  work(
      [&node, input]() -> Result<const Graph::Step*> {
        for (const Graph::Step& step : node.steps) {
          SLUICE_ASSIGN_OR_RETURN(const bool holds, condition_holds(step, input));
          if (holds) return &step;
        }
        return nullptr;
      },
      [this, &node, input, course](Result<const Graph::Step*> chosen) {
        if (!chosen) return course.done({.error = error_at(node, "(choice)", chosen.error())});
        if (*chosen == nullptr) {
          return course.done(
              {.status = kNotFound,
               .error = error_at(node, "(choice)",
                                 {Code::kNotFound, "no condition holds", {}, "no_branch"})});
        }
        run_step(node, **chosen, input_of(input, nullptr), course);
      },
      course);
}

void GraphRun::run_ensemble(const Graph::Node& node, const GraphBody& input, Course course) {
  const auto scope = std::make_shared<Scope>(course.scope);
  const auto ensemble = std::make_shared<Ensemble>(node, std::move(course), scope);
  ensemble->answers.resize(node.steps.size());
  ensemble->missing = node.steps.size();
  for (size_t i = 0; i < node.steps.size(); ++i) {
    run_step(node, node.steps[i], input_of(input, nullptr),
             {.scope = scope, .done = [this, ensemble, i](Answer answer) {
                if (ensemble->scope->gone()) return;
                const bool ends =
                    answer.error || (ensemble->node.steps[i].settings->hard && !answer.good());
                if (ends) {
                  give_up(*ensemble->scope);
                  return ensemble->course.done(std::move(answer));
                }
                ensemble->answers[i] = std::move(answer);
                if (--ensemble->missing == 0) join(ensemble);
              }});
    if (over_ || scope->gone()) return;
  }
}

void GraphRun::join(const std::shared_ptr<Ensemble>& ensemble) {
  std::vector<std::pair<std::string, GraphBody>> parts;
  parts.reserve(ensemble->answers.size());
  for (size_t i = 0; i < ensemble->answers.size(); ++i) {
    parts.emplace_back(ensemble->node.steps[i].label, ensemble->answers[i].body);
  }
  work([parts = std::move(parts)] { return joined_answers(parts); },
       [this, ensemble](Result<std::string> joined) {
         const Done& done = ensemble->course.done;
         if (!joined) return done({.error = error_at(ensemble->node, "(all)", joined.error())});
         done({.status = 200,
               .content_type = "application/json",
               .body = std::make_shared<const std::string>(*std::move(joined))});
       },
       ensemble->course);
}

void GraphRun::run_step(const Graph::Node& node, const Graph::Step& step, GraphInput input,
                        Course course) {
  if (over_) return;
  if (++steps_ > kMaxSteps) {
    return course.done(
        {.error = error_at(node, step.label,
                           {Code::kInternal, fmt::format("more than {} steps", kMaxSteps)})});
  }
  auto tried = std::make_shared<Try>(loop_, node, step);
  tried->input = std::move(input);
  tried->course = std::move(course);
  const Route* route =
      step.settings->route.empty() ? nullptr : request_.snapshot->find_route(step.settings->route);
  work(
      [tried, route, now = host_.clock.unix_seconds()] {
        return step_question(tried->step, tried->input, route, tried->course.last, now);
      },
      [this, tried](Result<StepQuestion> question) {
        if (!question) {
          return tried->course.done(
              {.error = error_at(tried->node, tried->step.label, question.error())});
        }
        tried->question = *std::move(question);
        attempt(tried);
      },
      tried->course);
}

void GraphRun::attempt(const std::shared_ptr<Try>& step) {
  if (over_) return;
  const plan::GraphStep& settings = *step->step.settings;
  ++step->tried;
  tries_.insert(step);
  if (settings.timeout > Duration::zero()) {
    step->on_time = [this, weak = std::weak_ptr(step)] {
      const auto alive = weak.lock();
      if (!alive || alive->passed || (alive->course.last && !may_run_out())) return;
      heard(alive, fail(Code::kDeadlineExceeded, "it did not answer in time", {}, "step_timeout"));
    };
    step->timer.set(net::EventLoop::now() + settings.timeout);
  }
  if (!settings.route.empty()) return ask_route(step);
  if (!settings.url.empty()) return ask_url(step);
  ask_node(step);
}

// Time is over for what leads to the graph's answer: not where that has begun, of which on_passed()
// may not have heard yet. Else it does not begin any more.
bool GraphRun::may_run_out() {
  for (const auto& each : tries_) {
    if (each->course.last && each->responder && !each->responder->leave_unless_passed()) {
      return false;
    }
  }
  return true;
}

void GraphRun::ask_node(const std::shared_ptr<Try>& step) {
  const auto scope = std::make_shared<Scope>(step->course.scope, step);
  step->below = scope;
  const auto input = std::make_shared<const std::string>(step->question.body);
  run_node(*graph_.find(step->step.settings->node), input,
           {.scope = scope, .last = step->course.last, .done = [this, step, scope](Answer answer) {
              if (!scope->gone()) decide(step, std::move(answer));
            }});
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
      loop_, step->course.last ? request_.responder : nullptr, request_.record.id,
      StepResponder::Callbacks{
          .on_passed = [this, self = shared_from_this(), step] { on_passed(step); },
          .on_answer = [this, self = shared_from_this(), step](
                           Result<net::HttpResponse> answer) { heard(step, std::move(answer)); }});
  own.responder = step->responder;
  host_.ask(std::move(own));
}

void GraphRun::on_passed(const std::shared_ptr<Try>& step) {
  const auto note = [](Try& each) {
    each.passed = true;
    each.timer.clear();
  };
  note(*step);
  for (const Scope* at = step->course.scope.get(); at != nullptr; at = at->above.get()) {
    if (const auto of = at->of.lock()) note(*of);
  }
  deadline_.clear();
  request_.record.stream = true;
  if (request_.record.status == 0) request_.record.status = kOk;
  request_.record.first_byte = host_.clock.now() - request_.record.began;
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
  auto call = UrlCall::begin(client_, settings.url, std::move(headers), step->question.body, time,
                             std::move(told));
  if (tries_.contains(step)) step->call = std::move(call);
}

void GraphRun::heard(const std::shared_ptr<Try>& step, Result<net::HttpResponse> answer) {
  if (over_ || !tries_.contains(step)) return;
  if (!answer) {
    return decide(step, {.error = error_at(step->node, step->step.label, answer.error())});
  }
  decide(step, {.status = answer->status,
                .content_type = std::string(net::find_header(answer->headers, "content-type")),
                .body = std::make_shared<const std::string>(std::move(answer->body))});
}

bool GraphRun::end_try(const std::shared_ptr<Try>& step) {
  const bool passed = step->stop();
  request_.record.bytes_out += std::exchange(step->sent, 0);
  tries_.erase(step);
  loop_.post([step] {});  // it must not end inside its own timer
  const auto below = std::exchange(step->below, nullptr);
  return (below && give_up(*below)) || passed;
}

bool GraphRun::give_up(Scope& scope) {
  scope.over = true;
  bool passed = false;
  for (const auto& each : std::set(tries_)) {
    if (each->course.scope->gone()) passed = end_try(each) || passed;
  }
  return passed;
}

// What comes of a try: its answer, another try, or the fallback.
void GraphRun::decide(const std::shared_ptr<Try>& step, Answer answer) {
  answer.passed = end_try(step) || answer.passed;
  const plan::GraphStep& settings = *step->step.settings;
  const Course& course = step->course;
  if (answer.good() || answer.passed) {
    if (answer.body) answers_[step->step.label] = answer.body;
    return course.done(std::move(answer));
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
    return run_node(*graph_.find(settings.fallback), input, course);
  }
  if (answer.body) answers_[step->step.label] = answer.body;
  course.done(std::move(answer));
}

void GraphRun::finish(Answer answer) {
  if (over_) return;
  const auto kept = shared_from_this();
  RequestRecord& record = request_.record;
  if (answer.passed) {
    if (answer.error) {
      record.ending = Ending::kCut;
      record.error = answer.error->reason();
    }
    record.status = answer.error ? kOk : answer.status;
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
    request_.record.bytes_out += step->sent;
    step->timer.disarm();
    loop_.post([step] {});  // it must not end inside its own timer
  }
  loop_.post([kept] {});
  request_.responder.reset();
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
