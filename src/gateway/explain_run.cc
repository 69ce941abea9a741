#include "gateway/explain_run.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "endpoint/error_shape.h"

namespace sluice::gateway {
namespace {

constexpr size_t kPromptsAtOnce = 16;
constexpr size_t kMaxHeldTokens = 4u << 20;  // of all prompts together
constexpr JsonLimits kAnswerLimits{.max_bytes = 16u << 20};

// What is found under the keys; null where there is nothing.
const json::value* find(const json::value& value, std::initializer_list<std::string_view> keys) {
  const json::value* at = &value;
  for (const std::string_view key : keys) {
    if (const json::array* list = at->if_array()) {
      at = list->empty() ? nullptr : &list->front();
      if (at == nullptr) return nullptr;
    }
    const json::object* object = at->if_object();
    at = object == nullptr ? nullptr : object->if_contains(key);
    if (at == nullptr) return nullptr;
  }
  return at;
}

std::vector<int64_t> ids_of(const json::value* list) {
  std::vector<int64_t> out;
  const json::array* array = list == nullptr ? nullptr : list->if_array();
  if (array == nullptr) return out;
  for (const json::value& each : *array) {
    if (!each.is_int64()) return {};
    out.push_back(each.get_int64());
  }
  return out;
}

Status not_told(std::string_view what) {
  return {Code::kUnimplemented,
          fmt::format("the model's server does not tell {}", what),
          {},
          "not_explainable"};
}

}  // namespace

void ExplainRun::begin(StepHost& host, net::EventLoop& loop, RelayRequest request) {
  auto run = std::make_shared<ExplainRun>(host, loop, std::move(request));
  run->self_ = run;
  run->request_.responder->on_close([weak = std::weak_ptr(run), &loop] {
    loop.post([weak] {
      if (const auto alive = weak.lock()) alive->on_client_gone();
    });
  });
  run->deadline_.set(net::EventLoop::now() + run->request_.route->settings().explain->timeout);
  run->start();
}

ExplainRun::ExplainRun(StepHost& host, net::EventLoop& loop, RelayRequest request)
    : host_(host), loop_(loop), request_(std::move(request)), deadline_(loop, [this] {
        fail_with({Code::kDeadlineExceeded,
                   "the time for an explanation is over",
                   {},
                   "explain_timeout"});
      }) {}

template <typename Compute, typename Next>
void ExplainRun::work(Compute compute, Next next) {
  const Outcome queued =
      host_.work(loop_, std::move(compute),
                 [self = shared_from_this(), next = std::move(next)](auto result) mutable {
                   if (!self->over_) next(std::move(result));
                 });
  if (!queued) fail_with(queued.error());
}

void ExplainRun::start() {
  work([this] { return read(); },
       [this](const Outcome& read) { read ? ask_for_answer() : fail_with(read.error()); });
}

Outcome ExplainRun::read() {
  SLUICE_ASSIGN_OR_RETURN(question_,
                          read_question(request_.http.body, request_.fields.model.value_or(""),
                                        *request_.route->settings().explain));
  parts_ = prompt_parts(question_);
  if (parts_.empty()) return invalid("the prompt has no text");
  if (parts_.size() > static_cast<size_t>(question_.max_segments)) {
    return invalid(fmt::format("{} messages have a text, and {} segments may be told apart: send "
                               "fewer messages, or raise max_segments",
                               parts_.size(), question_.max_segments),
                   "messages");
  }
  return {};
}

void ExplainRun::ask_for_answer() {
  if (!question_.answer.empty()) {
    return ask(
        "/tokenize",
        [this] {
          return json::object{{"model", question_.model},
                              {"prompt", question_.answer},
                              {"add_special_tokens", false},
                              {"return_token_strs", true}};
        },
        [this](const json::value& told) {
          answer_ = question_.answer;
          answer_ids_ = ids_of(find(told, {"tokens"}));
          if (answer_ids_.empty()) return fail_with(not_told("an answer's tokens"));
          next_tokens();
        });
  }
  ask(
      question_.chat() ? "/v1/chat/completions" : "/v1/completions",
      [this] {
        json::object body = prompt_without(question_, nullptr);
        body["model"] = question_.model;
        body["max_tokens"] = question_.max_tokens;
        body["temperature"] = 0;
        body["return_token_ids"] = true;
        return body;
      },
      [this](const json::value& answer) { take_answer(answer); });
}

void ExplainRun::take_answer(const json::value& answer) {
  const json::value* text =
      question_.chat() ? find(answer, {"choices", "message"}) : find(answer, {"choices"});
  if (text != nullptr) text = find(*text, {question_.chat() ? "content" : "text"});
  answer_ids_ = ids_of(find(answer, {"choices", "token_ids"}));
  if (text == nullptr || !text->is_string() || answer_ids_.empty()) {
    return fail_with(not_told("an answer's tokens (token_ids)"));
  }
  answer_ = text->get_string();
  next_tokens();
}

// The tokens of the whole prompt, then of each without a part.
void ExplainRun::next_tokens() {
  const size_t done = prompts_.size();
  if (done == parts_.size() + 1) return next_scores();
  ask(
      "/tokenize",
      [this, done] {
        json::object body = prompt_without(question_, done == 0 ? nullptr : &parts_[done - 1]);
        body["model"] = question_.model;
        return body;
      },
      [this](const json::value& told) {
        auto tokens = ids_of(find(told, {"tokens"}));
        // A prompt of one part is nothing without it: some token must stand before the answer.
        if (tokens.empty() && !prompts_.empty()) tokens.push_back(prompts_.front().front());
        if (tokens.empty()) return fail_with(not_told("a prompt's tokens"));
        held_tokens_ += tokens.size();
        if (held_tokens_ > kMaxHeldTokens) {
          return fail_with({Code::kInvalidArgument,
                            fmt::format("the prompt is too long for {} segments", parts_.size())});
        }
        prompts_.push_back(std::move(tokens));
        next_tokens();
      });
}

void ExplainRun::next_scores() {
  if (asked_scores_ == prompts_.size()) return finish();
  const size_t from = asked_scores_;
  asked_scores_ = std::min(from + kPromptsAtOnce, prompts_.size());
  ask(
      "/v1/completions",
      [this, from] {
        json::array prompts;
        for (size_t i = from; i < asked_scores_; ++i) {
          json::array tokens(prompts_[i].begin(), prompts_[i].end());
          tokens.insert(tokens.end(), answer_ids_.begin(), answer_ids_.end());
          prompts.push_back(std::move(tokens));
        }
        return json::object{{"model", question_.model},
                            {"prompt", std::move(prompts)},
                            {"max_tokens", 1},
                            {"temperature", 0},
                            {"prompt_logprobs", 0}};
      },
      [this](const json::value& answer) { take_scores(answer); });
}

Outcome ExplainRun::read_scores(const json::object& choice) {
  const json::value* told = choice.if_contains("prompt_logprobs");
  const json::array* list = told == nullptr ? nullptr : told->if_array();
  if (list == nullptr || list->size() < answer_ids_.size()) {
    return std::unexpected(not_told("the chances of given tokens (prompt_logprobs)"));
  }
  const bool first = scores_.empty();
  std::vector<double> scores;
  for (size_t i = 0; i < answer_ids_.size(); ++i) {
    const json::value& at = (*list)[list->size() - answer_ids_.size() + i];
    const json::object* tokens = at.if_object();
    const json::value* token =
        tokens == nullptr ? nullptr : tokens->if_contains(std::to_string(answer_ids_[i]));
    const json::value* logprob =
        token == nullptr || !token->is_object() ? nullptr : find(*token, {"logprob"});
    if (logprob == nullptr || !logprob->is_number()) {
      return std::unexpected(not_told("the chances of given tokens (prompt_logprobs)"));
    }
    scores.push_back(logprob->to_number<double>());
    const json::value* shown = find(*token, {"decoded_token"});
    if (first && shown != nullptr && shown->is_string()) {
      answer_tokens_.emplace_back(std::string_view(shown->get_string()));
    }
  }
  scores_.push_back(std::move(scores));
  return {};
}

void ExplainRun::take_scores(const json::value& answer) {
  const json::value* choices = find(answer, {"choices"});
  const json::array* list = choices == nullptr ? nullptr : choices->if_array();
  const size_t expected = asked_scores_ - scores_.size();
  if (list == nullptr || list->size() != expected) return fail_with(not_told("each choice"));
  for (const json::value& choice : *list) {
    if (!choice.is_object()) return fail_with(not_told("each choice"));
    if (const Outcome read = read_scores(choice.get_object()); !read) {
      return fail_with(read.error());
    }
  }
  next_scores();
}

void ExplainRun::ask(std::string path, Make make, Then then) {
  work([make = std::move(make)] { return to_json(make()); },
       [this, path = std::move(path), then = std::move(then)](std::string body) {
         send_own(path, std::move(body), then);
       });
}

void ExplainRun::send_own(std::string path, std::string body, Then then) {
  RelayRequest own;
  own.http.method = "POST";
  own.http.target = own.http.path = std::move(path);
  for (const auto& [name, value] : request_.http.headers) {
    if (name != "content-length" && name != "transfer-encoding" && name != "content-type" &&
        name != "accept" && name != "traceparent" && name != "expect") {
      own.http.headers.emplace_back(name, value);
    }
  }
  own.http.headers.emplace_back("content-type", "application/json");
  own.http.headers.emplace_back("traceparent", request_.traceparent);
  own.http.body = std::move(body);
  own.http.peer = request_.http.peer;
  own.snapshot = request_.snapshot;
  const std::string& route = request_.route->settings().explain->route;
  own.route = route.empty() ? request_.route : request_.snapshot->find_route(route);
  own.caller = request_.caller;
  own.transformed = true;
  const auto self = shared_from_this();
  under_way_ = std::make_shared<StepResponder>(
      loop_, nullptr, request_.record.id,
      StepResponder::Callbacks{
          .on_passed = {},
          .on_answer = [self, then = std::move(then)](Result<net::HttpResponse> answer) {
            if (self->over_) return;
            if (!answer) return self->fail_with(answer.error());
            if (answer->status != 200) return self->send(*std::move(answer));
            self->work([text = std::move(answer->body)] { return parse_json(text, kAnswerLimits); },
                       [self, then](Result<json::value> value) {
                         value ? then(*std::move(value)) : self->fail_with(value.error());
                       });
          }});
  own.responder = under_way_;
  host_.ask(std::move(own));
}

void ExplainRun::finish() {
  const bool page = request_.http.header("accept").contains("text/html");
  const auto make = [this, page] {
    const Explanation explanation{.question = question_,
                                  .parts = parts_,
                                  .answer = answer_,
                                  .tokens = std::move(answer_tokens_),
                                  .whole = std::move(scores_.front()),
                                  .without = {std::make_move_iterator(scores_.begin() + 1),
                                              std::make_move_iterator(scores_.end())}};
    return page ? explanation_page(explanation) : explanation_json(explanation);
  };
  work(make, [this, page](std::string body) {
    send({.status = 200,
          .headers = {{"Content-Type", page ? "text/html; charset=utf-8" : "application/json"},
                      // What stands in a prompt or an answer is shown, never run.
                      {"Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'"}},
          .body = std::move(body)});
  });
}

void ExplainRun::fail_with(const Status& status) {
  send(endpoint::shaped_error(request_.http.path, status));
}

void ExplainRun::send(net::HttpResponse response) {
  if (over_) return;
  std::erase_if(response.headers, [](const auto& header) {
    return net::equals_ignoring_case(header.first, "x-request-id");
  });
  response.headers.emplace_back("X-Request-Id", request_.record.id);
  request_.record.status = response.status;
  request_.record.bytes_out = response.body.size();
  request_.responder->send(std::move(response));
  over();
}

void ExplainRun::on_client_gone() {
  if (over_) return;
  request_.record.ending = Ending::kClientGone;
  over();
}

void ExplainRun::over() {
  over_ = true;
  const auto kept = std::exchange(self_, nullptr);
  deadline_.disarm();
  if (under_way_) under_way_->leave();
  under_way_.reset();
  loop_.post([kept] {});  // it must not end inside its own timer
  request_.responder.reset();
  host_.on_over(request_.record);
}

}  // namespace sluice::gateway
