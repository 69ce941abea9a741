// TransformRun: what a route makes of a request before it goes on, and of its answer: by templates,
// or by services that are sent the body and answer with another one.
//
// On the loop that the request came in on; templates are rendered on the workers.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "gateway/graph_run.h"
#include "gateway/json_template.h"
#include "gateway/relay.h"
#include "net/client.h"
#include "net/event_loop.h"
#include "plan/plan.h"

namespace sluice::gateway {

// A route's templates, read. Immutable.
struct Transform {
  // The plan passed check_templates().
  explicit Transform(const plan::TransformPlan& plan);

  const plan::TransformPlan& settings;
  std::optional<JsonTemplate> request;
  std::optional<JsonTemplate> response;
};

class TransformRun : public std::enable_shared_from_this<TransformRun> {
 public:
  // Goes on with the request; refuses it. On the loop's thread.
  using Next = std::function<void(RelayRequest request)>;
  using Refuse = std::function<void(RelayRequest& request, const Status& status)>;

  static void begin(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
                    const Transform& transform, RelayRequest request, Next next, Refuse refuse);
  // Use begin().
  TransformRun(StepHost& host, std::shared_ptr<net::EventLoop> loop, net::HttpClient& client,
               const Transform& transform, RelayRequest request, Next next, Refuse refuse);

 private:
  using Made = std::function<void(Result<std::string> body)>;

  void ask();
  void go_on(Result<std::string> body);
  void answered(Result<net::HttpResponse> answer);
  // By the template, or by the service; `made` is told on the loop's thread.
  void make(const std::optional<JsonTemplate>& by, const std::string& url, std::string body,
            bool of_answer, const Made& made);
  Result<std::string> render(const JsonTemplate& by, const std::string& body, bool of_answer) const;
  void fail_answer(const Status& status);

  StepHost& host_;
  const std::shared_ptr<net::EventLoop> kept_loop_;
  net::EventLoop& loop_;
  net::HttpClient& client_;
  const Transform& transform_;
  const Next next_;
  const Refuse refuse_;
  RelayRequest request_;
  // Of the request, kept for its answer.
  std::shared_ptr<const Snapshot> snapshot_;
  std::string asked_;  // body
  std::string path_;
  std::string model_;
  std::string id_;
  std::string traceparent_;
  std::shared_ptr<net::Responder> client_responder_;
  int status_ = 0;
};

}  // namespace sluice::gateway
