#include <utility>

#include "api/anthropic_request.h"
#include "api/anthropic_response.h"
#include "base/ids.h"
#include "completion/collector.h"
#include "endpoint/error_shape.h"
#include "endpoint/route_kit.h"
#include "endpoint/sinks.h"
#include "net/sse.h"

namespace sluice::endpoint {
namespace {

constexpr std::string_view kPath = "/v1/messages";

net::HttpResponse with_request_id(net::HttpResponse response) {
  response.headers.emplace_back("request-id", new_id("req_"));
  return response;
}

// Streams the events. The stream begins with the first delta, so that an early failure still has
// its own status.
class MessageStreamSink : public completion::ResponseSink {
 public:
  MessageStreamSink(ResponderPtr responder, api::MessageHead head)
      : responder_(std::move(responder)), events_(std::move(head)) {}

  void on_start(completion::PromptInfo info) override {
    for (const auto& tokens : info.tokens) prompt_tokens_ += static_cast<int>(tokens.size());
  }
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    begin();
    send(events_.delta(delta));
  }
  void on_done(const completion::Usage& usage) override {
    begin();
    send(events_.done(usage));
    responder_->finish();
  }
  void on_error(const Status& status) override {
    if (!started_) {
      responder_->send(shaped_error(kPath, status));
      return;
    }
    send({{"error",
           api::anthropic_error_body(http_status(status.code()), status.message(), request_id_)}});
    responder_->finish();
  }

 private:
  void begin() {
    if (std::exchange(started_, true)) return;
    start_events(*responder_, {{"request-id", request_id_}});
    send(events_.start(prompt_tokens_));
  }
  void send(const std::vector<api::NamedEvent>& events) {
    std::string bytes;
    for (const api::NamedEvent& event : events) bytes += net::sse_event(event.data, event.name);
    if (!bytes.empty()) responder_->write(bytes);
  }

  const ResponderPtr responder_;
  const std::string request_id_ = new_id("req_");
  api::MessageEvents events_;
  int prompt_tokens_ = 0;
  bool started_ = false;
};

void answer_message(const RouteKit& kit, const net::HttpRequest& http,
                    const ResponderPtr& responder) {
  const auto parse = [&]() -> Result<api::MessagesCall> {
    SLUICE_RETURN_IF_ERROR(api::check_anthropic_version(http.header("anthropic-version")));
    SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(http));
    return api::parse_messages_request(body);
  };
  auto call = parse();
  if (!call) return responder->send(shaped_error(kPath, call.error()));
  completion::Request& request = call->request;
  const auto card = kit.backend().find_model(request.model);
  if (!card) return responder->send(shaped_error(kPath, card.error()));

  request.id = new_id("msg_");
  api::MessageHead head{.id = request.id, .model = card->id};
  // The protocol demands max_tokens, and its clients send what other models can hold.
  if (request.sampling.max_tokens >= card->max_model_len) {
    request.sampling.max_tokens.reset();
    head.to_context_end = true;
  }
  std::shared_ptr<completion::ResponseSink> sink;
  if (call->stream) {
    sink = std::make_shared<MessageStreamSink>(responder, std::move(head));
  } else {
    sink = std::make_shared<completion::Collector>(
        request, [responder, head = std::move(head)](const Result<completion::Answer>& answer) {
          responder->send(answer ? with_request_id(json_response(api::message_body(head, *answer)))
                                 : shaped_error(kPath, answer.error()));
        });
  }
  kit.generate(std::move(request), http, responder, sink);
}

void count_tokens(const RouteKit& kit, const net::HttpRequest& http,
                  const ResponderPtr& responder) {
  const auto count = [&]() -> Result<std::string> {
    SLUICE_RETURN_IF_ERROR(api::check_anthropic_version(http.header("anthropic-version")));
    SLUICE_ASSIGN_OR_RETURN(const auto body, read_json_body(http));
    SLUICE_ASSIGN_OR_RETURN(const auto call, api::parse_count_tokens_request(body));
    SLUICE_ASSIGN_OR_RETURN(const auto result, kit.backend().tokenize(call));
    return api::count_tokens_body(result.tokens.size());
  };
  const auto body = count();
  responder->send(body ? with_request_id(json_response(*body)) : shaped_error(kPath, body.error()));
}

}  // namespace

void add_anthropic_routes(net::Router& router, const RouteKit& kit) {
  router.add("POST", std::string(kPath),
             kit.on_worker([&kit](const auto& http, const auto&, const auto& responder) {
               answer_message(kit, http, responder);
             }));
  router.add("POST", std::string(kPath) + "/count_tokens",
             kit.on_worker([&kit](const auto& http, const auto&, const auto& responder) {
               count_tokens(kit, http, responder);
             }));
}

}  // namespace sluice::endpoint
