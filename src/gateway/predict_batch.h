// PredictBatcher: joins the instances of several KServe predictions (POST /v1/models/NAME:predict)
// into one request, as KServe's batcher does, for servers that answer many at a time as fast as
// one.
//
// Requests to one path of one route, by one caller, wait for each other: up to so many instances,
// and no longer than the first may wait. A body that holds more than "instances", or is large, goes
// by itself. All get the part of the answer that is theirs; an answer other than 200 is
// everybody's.
//
// One for each loop, used on its thread only; bodies are read and made on the workers.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "gateway/gateway_metrics.h"
#include "gateway/graph_run.h"
#include "gateway/relay.h"
#include "gateway/step_responder.h"
#include "net/event_loop.h"
#include "plan/plan.h"

namespace sluice::gateway {

// The instances of a body that has nothing else, one at least.
std::optional<json::array> read_instances(std::string_view body);
// {"instances": […]} of all, in their order.
std::string joined_instances(const std::vector<const json::array*>& parts);
// The answer's predictions in parts of `counts`, each with the answer's other fields. Fails when
// there are not as many predictions.
Result<std::vector<std::string>> split_predictions(std::string_view answer,
                                                   const std::vector<size_t>& counts);

class PredictBatcher {
 public:
  static constexpr size_t kMaxBodyBytes = 256u << 10;  // of one that is joined

  // Goes on with a request that is not joined.
  using Next = std::function<void(RelayRequest request)>;

  // `host` and `metrics` outlive this.
  PredictBatcher(StepHost& host, GatewayMetrics& metrics, std::shared_ptr<net::EventLoop> loop,
                 Next next)
      : host_(host), metrics_(metrics), loop_(std::move(loop)), next_(std::move(next)) {}

  // Whether its route joins requests such as this one.
  static bool takes(const RelayRequest& request);
  void take(RelayRequest request);

 private:
  struct Part {
    RelayRequest request;
    json::array instances;
    size_t count = 0;
    bool over = false;  // answered, or its client has left
  };
  struct Batch {
    std::string key;
    plan::BatchPlan settings;
    std::vector<std::shared_ptr<Part>> parts;
    size_t instances = 0;
    std::unique_ptr<net::EventLoop::Timer> timer;
    std::shared_ptr<StepResponder> asked;  // null before
    bool sent = false;
    bool over = false;
  };
  using PartPtr = std::shared_ptr<Part>;
  using BatchPtr = std::shared_ptr<Batch>;

  void go_alone(const PartPtr& part);
  void add(const PartPtr& part, json::array instances);
  BatchPtr open(const PartPtr& part, const std::string& key);
  void due(const BatchPtr& batch);
  void send(const BatchPtr& batch);
  void ask(const BatchPtr& batch, std::string body);
  void answered(const BatchPtr& batch, Result<net::HttpResponse> whole);
  void answer_all(const BatchPtr& batch, const net::HttpResponse& answer);
  void fail_all(const BatchPtr& batch, const Status& status);
  void answer(Part& part, net::HttpResponse response);
  void left(const BatchPtr& batch, const PartPtr& part);

  StepHost& host_;
  GatewayMetrics& metrics_;
  const std::shared_ptr<net::EventLoop> loop_;
  const Next next_;
  std::map<std::string, BatchPtr> open_;  // that wait for more
};

}  // namespace sluice::gateway
