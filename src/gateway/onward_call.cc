#include "gateway/onward_call.h"

#include <fmt/format.h>

#include <memory>
#include <utility>
#include <vector>

#include "gateway/forward.h"
#include "net/sse.h"

namespace sluice::gateway {
namespace {

constexpr std::string_view kChat = "/v1/chat/completions";
constexpr std::string_view kMessages = "/v1/messages";
// Of an answer that is not streamed.
constexpr size_t kMostBytes = 8u << 20;
constexpr size_t kMostErrorBytes = 64u << 10;

net::Headers with_body(net::Headers headers, std::string_view type, std::optional<size_t> length) {
  std::erase_if(headers, [](const auto& header) {
    return net::equals_ignoring_case(header.first, "content-type") ||
           net::equals_ignoring_case(header.first, "content-length");
  });
  headers.emplace_back("Content-Type", type);
  if (length) headers.emplace_back("Content-Length", std::to_string(*length));
  return headers;
}

// Hears a message, tells a chat completion. What is no stream is told at its end, when it is known.
class MessageListener {
 public:
  MessageListener(net::ClientCallbacks told, bool include_usage, int64_t created)
      : told_(std::move(told)), chunks_(include_usage, created), created_(created) {}

  void on_head(int status, const net::Headers& headers) {
    status_ = status;
    headers_ = headers;
    streams_ = status < 400 && is_event_stream(headers);
    if (streams_) told_.on_head(status, with_body(headers, "text/event-stream", std::nullopt));
  }

  // To be stopped where what comes makes no sense.
  void listen_to(net::ClientCall call) { call_ = std::move(call); }

  void on_data(std::string_view bytes) {
    if (streams_) return read_events(bytes);
    const size_t most = status_ >= 400 ? kMostErrorBytes : kMostBytes;
    too_much_ = too_much_ || (status_ < 400 && body_.size() + bytes.size() > most);
    body_.append(bytes.substr(0, most - std::min(most, body_.size())));
  }

  void on_end(Outcome outcome) {
    if (!failure_) return told_.on_end(failure_);
    if (outcome && streams_ && !chunks_.done()) {
      outcome = fail(Code::kUnavailable, "the provider's stream ended before its message did");
    }
    if (!outcome || streams_) return told_.on_end(std::move(outcome));
    tell_whole();
  }

 private:
  void read_events(std::string_view bytes) {
    if (!failure_) return;
    std::vector<net::SseEvent> events;
    failure_ = parser_.feed(bytes, events);
    std::string out;
    for (const net::SseEvent& event : events) {
      auto made = chunks_.event(event.data);
      if (!made) {
        failure_ = std::unexpected(made.error());
        break;
      }
      for (const std::string& each : *made) out += net::sse_event(each);
    }
    if (!out.empty()) told_.on_data(out);
    if (!failure_) call_.cancel();
  }

  void tell_whole() {
    std::string body;
    const int status = api::status_as_chat(status_);
    if (status_ >= 400) {
      body = api::message_error_as_chat(status_, body_);
    } else {
      auto chat =
          too_much_
              ? Result<std::string>(fail(
                    Code::kUnavailable,
                    fmt::format("the provider's answer is longer than {} MiB", kMostBytes >> 20)))
              : api::message_as_chat(body_, created_);
      if (!chat) return told_.on_end(std::unexpected(chat.error()));
      body = *std::move(chat);
    }
    told_.on_head(status, with_body(std::move(headers_), "application/json", body.size()));
    told_.on_data(body);
    told_.on_end({});
  }

  const net::ClientCallbacks told_;
  api::MessageChunks chunks_;
  const int64_t created_;
  net::SseParser parser_;
  net::ClientCall call_;
  int status_ = 0;
  net::Headers headers_;
  std::string body_;
  Outcome failure_;
  bool streams_ = false;
  bool too_much_ = false;
};

}  // namespace

bool OnwardCall::is_chat(std::string_view path) { return path == kChat; }

Result<OnwardCall> OnwardCall::to_messages(net::ClientRequest request, std::string_view path) {
  if (path == kMessages || path.starts_with("/v1/messages/")) {
    return OnwardCall(std::move(request));
  }
  return fail(Code::kNotFound,
              fmt::format("the model's provider speaks Anthropic's Messages API: ask {} or {}, "
                          "not {}",
                          kChat, kMessages, path.substr(0, 200)),
              {}, "unsupported_path");
}

OnwardCall OnwardCall::chat_to_messages(net::ClientRequest request,
                                        const api::MessageRequest& message, std::string_view model,
                                        const std::string& base, const Clock& clock) {
  OnwardCall call(std::move(request));
  call.request_.url = base;
  call.request_.url += kMessages;
  call.request_.body = message.body(model);
  call.is_message_ = true;
  call.include_usage_ = message.include_usage;
  call.created_ = static_cast<int64_t>(clock.unix_seconds());
  return call;
}

net::ClientCall OnwardCall::send(net::HttpClient& client, net::ClientCallbacks told) && {
  if (!is_message_) return client.request(std::move(request_), std::move(told));
  auto listener = std::make_shared<MessageListener>(std::move(told), include_usage_, created_);
  net::ClientCall call = client.request(
      std::move(request_),
      {.on_head = [listener](int status,
                             const net::Headers& headers) { listener->on_head(status, headers); },
       .on_data = [listener](std::string_view bytes) { listener->on_data(bytes); },
       .on_end = [listener](Outcome outcome) { listener->on_end(std::move(outcome)); }});
  listener->listen_to(call);
  return call;
}

}  // namespace sluice::gateway
