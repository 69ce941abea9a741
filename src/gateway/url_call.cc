#include "gateway/url_call.h"

#include <fmt/format.h>

#include <utility>

namespace sluice::gateway {

std::shared_ptr<UrlCall> UrlCall::begin(net::HttpClient& client, const std::string& url,
                                        net::Headers headers, std::string body, Duration timeout,
                                        Done done) {
  auto call = std::make_shared<UrlCall>(std::move(done));
  call->ask(client, {.method = "POST",
                     .url = url,
                     .headers = std::move(headers),
                     .body = std::move(body),
                     .timeout = timeout});
  return call;
}

void UrlCall::ask(net::HttpClient& client, net::ClientRequest request) {
  const auto self = shared_from_this();
  auto call = client.request(
      std::move(request),
      {.on_head =
           [self](int status, const net::Headers& headers) {
             self->answer_.status = status;
             self->answer_.headers = headers;
           },
       .on_data =
           [self](std::string_view bytes) {
             if (self->answer_.body.size() + bytes.size() > kMaxAnswerBytes) {
               self->too_large_ = true;
               return self->call_.cancel();
             }
             self->answer_.body += bytes;
           },
       .on_end =
           [self](const Outcome& outcome) {
             if (self->too_large_) {
               return self->tell(
                   fail(Code::kUnavailable,
                        fmt::format("the answer has more than {} bytes", kMaxAnswerBytes)));
             }
             if (!outcome) return self->tell(std::unexpected(outcome.error()));
             self->tell(std::move(self->answer_));
           }});
  if (done_) call_ = std::move(call);
}

bool UrlCall::cancel() {
  call_.cancel();
  return std::exchange(done_, nullptr) != nullptr;
}

void UrlCall::tell(Result<net::HttpResponse> answer) {
  call_ = {};
  const Done done = std::exchange(done_, nullptr);
  if (done) done(std::move(answer));
}

}  // namespace sluice::gateway
