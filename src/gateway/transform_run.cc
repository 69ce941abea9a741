#include "gateway/transform_run.h"

#include <fmt/format.h>

#include <utility>

#include "endpoint/error_shape.h"
#include "endpoint/model_path.h"
#include "gateway/url_call.h"

namespace sluice::gateway {
namespace {

constexpr size_t kMaxBodyBytes = 16u << 20;

std::optional<JsonTemplate> read(const std::string& source) {
  if (source.empty()) return std::nullopt;
  auto made = JsonTemplate::parse(source);
  return made ? std::optional(*std::move(made)) : std::nullopt;
}

}  // namespace

Transform::Transform(const plan::TransformPlan& plan)
    : settings(plan),
      request(read(plan.request_template)),
      response(read(plan.response_template)) {}

void TransformRun::begin(StepHost& host, std::shared_ptr<net::EventLoop> loop,
                         net::HttpClient& client, const Transform& transform, RelayRequest request,
                         Next next, Refuse refuse) {
  if (request.fields.stream && transform.settings.changes_answers()) {
    return refuse(request,
                  {Code::kInvalidArgument,
                   "this route makes something of whole answers: it cannot stream them", "stream"});
  }
  std::make_shared<TransformRun>(host, std::move(loop), client, transform, std::move(request),
                                 std::move(next), std::move(refuse))
      ->ask();
}

TransformRun::TransformRun(StepHost& host, std::shared_ptr<net::EventLoop> loop,
                           net::HttpClient& client, const Transform& transform,
                           RelayRequest request, Next next, Refuse refuse)
    : host_(host),
      kept_loop_(std::move(loop)),
      loop_(*kept_loop_),
      client_(client),
      transform_(transform),
      next_(std::move(next)),
      refuse_(std::move(refuse)),
      request_(std::move(request)),
      snapshot_(request_.snapshot),
      asked_(request_.http.body),
      path_(request_.http.path),
      model_(request_.fields.model.value_or("")),
      id_(request_.record.id),
      traceparent_(request_.traceparent) {}

void TransformRun::ask() {
  const plan::TransformPlan& settings = transform_.settings;
  if (!transform_.request && settings.request_url.empty()) return go_on(asked_);
  make(transform_.request, settings.request_url, asked_, false,
       [self = shared_from_this()](Result<std::string> body) { self->go_on(std::move(body)); });
}

void TransformRun::go_on(Result<std::string> body) {
  if (!body) return refuse_(request_, body.error().at("the route's transformer"));
  auto fields = scan_body(*body);
  if (!fields) return refuse_(request_, fields.error().at("what the route's transformer made"));
  // The route stays; the name that it was found by too, unless the transformer gives another.
  const bool by_path = !endpoint::model_of_path(path_).empty();
  if (!fields->model && !model_.empty() && !by_path) {
    const size_t behind_brace = body->find('{') + 1;
    const bool more = (*body)[body->find_first_not_of(" \t\r\n", behind_brace)] != '}';
    body->insert(behind_brace,
                 fmt::format("\"model\":{}{}", to_json(json::value(model_)), more ? "," : ""));
    fields = scan_body(*body);
    if (!fields) return refuse_(request_, fields.error());
  }
  if (by_path) fields->model = request_.fields.model;
  request_.http.body = *std::move(body);
  request_.fields = *std::move(fields);
  request_.transformed = true;
  if (transform_.settings.changes_answers()) {
    if (request_.fields.stream) {
      return refuse_(request_, {Code::kInvalidArgument,
                                "this route makes something of whole answers: its transformer "
                                "must not ask for a stream",
                                "stream"});
    }
    client_responder_ = std::move(request_.responder);
    const auto responder = std::make_shared<StepResponder>(
        loop_, nullptr, id_,
        StepResponder::Callbacks{
            .on_passed = {},
            .on_answer = [self = shared_from_this()](Result<net::HttpResponse> answer) {
              self->answered(std::move(answer));
            }});
    client_responder_->on_close([weak = std::weak_ptr(responder)] {
      if (const auto alive = weak.lock()) alive->leave();
    });
    request_.responder = responder;
  }
  next_(std::move(request_));
}

void TransformRun::answered(Result<net::HttpResponse> answer) {
  if (!answer) return fail_answer(answer.error());
  status_ = answer->status;
  if (status_ < 200 || status_ >= 300) return client_responder_->send(*std::move(answer));
  auto kept = std::make_shared<net::HttpResponse>(*std::move(answer));
  std::string body = std::move(kept->body);
  make(transform_.response, transform_.settings.response_url, std::move(body), true,
       [self = shared_from_this(), kept](Result<std::string> made) {
         if (!made) return self->fail_answer(made.error());
         kept->body = *std::move(made);
         std::erase_if(kept->headers, [](const auto& header) {
           return net::equals_ignoring_case(header.first, "content-type") ||
                  net::equals_ignoring_case(header.first, "content-length");
         });
         kept->headers.emplace_back("Content-Type", "application/json");
         self->client_responder_->send(std::move(*kept));
       });
}

void TransformRun::fail_answer(const Status& status) {
  net::HttpResponse response = endpoint::shaped_error(
      path_, Status(Code::kInternal, "the route's transformer: " + status.message()));
  response.headers.emplace_back("X-Request-Id", id_);
  client_responder_->send(std::move(response));
}

Result<std::string> TransformRun::render(const JsonTemplate& by, const std::string& body,
                                         bool of_answer) const {
  json::object variables{{"path", path_}, {"model", model_}};
  SLUICE_ASSIGN_OR_RETURN(variables["request"], parse_json(asked_, {.max_bytes = kMaxBodyBytes}));
  if (of_answer) {
    SLUICE_ASSIGN_OR_RETURN(variables["response"], parse_json(body, {.max_bytes = kMaxBodyBytes}));
    variables["status"] = status_;
  }
  SLUICE_ASSIGN_OR_RETURN(const json::value made, by.render(variables, host_.clock.unix_seconds()));
  return to_json(made);
}

void TransformRun::make(const std::optional<JsonTemplate>& by, const std::string& url,
                        std::string body, bool of_answer, const Made& made) {
  const auto self = shared_from_this();
  if (by) {
    const Outcome queued = host_.work(
        loop_,
        [self, &by, body = std::move(body), of_answer] {
          return self->render(*by, body, of_answer);
        },
        made);
    if (!queued) made(std::unexpected(queued.error()));
    return;
  }
  UrlCall::begin(
      client_, url,
      {{"Content-Type", "application/json"}, {"X-Request-Id", id_}, {"traceparent", traceparent_}},
      std::move(body), transform_.settings.timeout, [made](Result<net::HttpResponse> answer) {
        if (!answer) return made(std::unexpected(answer.error()));
        if (answer->status >= 200 && answer->status < 300) {
          return made(std::move(answer->body));
        }
        made(fail(answer->status < 500 ? Code::kInvalidArgument : Code::kUnavailable,
                  fmt::format("it answered {}", answer->status)));
      });
}

}  // namespace sluice::gateway
