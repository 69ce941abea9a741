// UrlCall: one JSON request to a service that the plan names by a URL: a step of a graph, a
// transformer, an explainer.
//
// Which addresses may be asked is the client's (client_options()). Redirects are not followed.
// Answers are bounded.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/status.h"
#include "net/client.h"
#include "net/http.h"

namespace sluice::gateway {

// On the loop's thread, the client's too.
class UrlCall : public std::enable_shared_from_this<UrlCall> {
 public:
  static constexpr size_t kMaxAnswerBytes = 16u << 20;

  // Called once, maybe before begin() returns. An answer of any status, or why there is none.
  using Done = std::function<void(Result<net::HttpResponse> answer)>;

  static std::shared_ptr<UrlCall> begin(net::HttpClient& client, const std::string& url,
                                        net::Headers headers, std::string body, Duration timeout,
                                        Done done);
  // Use begin().
  explicit UrlCall(Done done) : done_(std::move(done)) {}

  // Nobody wants the answer: it is not told. False when it was told already.
  bool cancel();

 private:
  void ask(net::HttpClient& client, net::ClientRequest request);
  void tell(Result<net::HttpResponse> answer);

  Done done_;
  net::ClientCall call_;
  net::HttpResponse answer_;
  bool too_large_ = false;
};

}  // namespace sluice::gateway
