// UrlCall: one JSON request to a service that the plan names by a URL: a step of a graph, a
// transformer, an explainer.
//
// The address is judged after its name was looked up, and the one that was judged is the one that
// is connected to: no link-local address (clouds tell their secrets there), no multicast, none of
// this host's "any". Redirects are not followed. Answers are bounded.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/clock.h"
#include "base/status.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "net/http.h"
#include "net/socket.h"
#include "net/url.h"

namespace sluice::gateway {

bool may_be_called(const net::SocketAddress& address);

// On the loop's thread, the client's too.
class UrlCall : public std::enable_shared_from_this<UrlCall> {
 public:
  static constexpr size_t kMaxAnswerBytes = 16u << 20;

  // Called once, maybe before begin() returns. An answer of any status, or why there is none.
  using Done = std::function<void(Result<net::HttpResponse> answer)>;

  static std::shared_ptr<UrlCall> begin(std::shared_ptr<net::EventLoop> loop,
                                        net::HttpClient& client, const std::string& url,
                                        net::Headers headers, std::string body, Duration timeout,
                                        Done done);
  // Use begin().
  UrlCall(std::shared_ptr<net::EventLoop> loop, net::HttpClient& client, net::Headers headers,
          std::string body, Duration timeout, Done done);

  // Nobody wants the answer: it is not told. False when it was told already.
  bool cancel();

 private:
  void look_up();
  void connect(const Result<std::vector<net::SocketAddress>>& found);
  void tell(Result<net::HttpResponse> answer);

  const std::shared_ptr<net::EventLoop> loop_;  // a name may be found after all else has ended
  net::HttpClient& client_;
  net::Url url_;
  net::Headers headers_;
  std::string body_;
  const TimePoint until_;
  Done done_;
  net::ClientCall call_;
  net::HttpResponse answer_;
  bool too_large_ = false;
};

}  // namespace sluice::gateway
