#include <atomic>
#include <utility>

#include "base/ids.h"
#include "open_inference.pb.h"
#include "rpc/call_kit.h"
#include "rpc/grpc_status.h"
#include "rpc/oip_messages.h"

namespace sluice::rpc {
namespace {

using inference::ModelInferResponse;

// What the reactor, the worker and the sink share. The reactor and the response live until it is
// finished, which happens once: after that nobody touches them.
class InferState {
 public:
  InferState(KitPtr kit, grpc::ServerUnaryReactor& reactor, ModelInferResponse& response)
      : kit_(std::move(kit)), reactor_(reactor), response_(response) {}

  template <typename Fill>
  void finish(const grpc::Status& status, const Fill& fill) {
    if (finished_.exchange(true)) return;
    fill(response_);
    kit_->count("ModelInfer", status);
    reactor_.Finish(status);
  }
  void fail(const Status& status) {
    finish(to_grpc(status), [](ModelInferResponse&) {});
  }
  void cancel() {
    cancellation.cancel();
    fail(Status(Code::kCancelled, "the call was cancelled"));
  }

  Cancellation cancellation;

 private:
  const KitPtr kit_;
  grpc::ServerUnaryReactor& reactor_;
  ModelInferResponse& response_;
  std::atomic<bool> finished_{false};
};

class InferReactor : public grpc::ServerUnaryReactor {
 public:
  InferReactor(KitPtr kit, ModelInferResponse& response, Running::Place place)
      : state(std::make_shared<InferState>(std::move(kit), *this, response)),
        place_(std::move(place)) {}
  void OnCancel() override { state->cancel(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<InferState> state;

 private:
  const Running::Place place_;  // until the answer has been sent
};

struct Begun {
  std::string model;
  std::string version;
  Caller caller;
  TimePoint deadline;
  bool raw = false;
};

// On a worker: what the request means, and the generation.
void begin(const CallKit& kit, const std::shared_ptr<InferState>& state, const Begun& begun,
           api::InferInput input) {
  const auto card = kit.backend.find_model(begun.model);
  if (!card) return state->fail(card.error());
  const Outcome version = api::check_model_version(begun.version);
  if (!version) return state->fail(version.error());
  auto call = api::make_infer_call(std::move(input));
  if (!call) return state->fail(call.error());

  completion::Request request = std::move(call->request);
  request.id = new_id("infer-");
  request.model = begun.model;
  request.tenant = begun.caller.tenant;
  request.context = begun.caller.context;
  request.trace = begun.caller.trace;
  request.deadline = begun.deadline;
  const auto sink = std::make_shared<completion::Collector>(
      request, [state, head = InferHead{.model = card->id, .raw = begun.raw},
                call = *std::move(call)](const Result<completion::Answer>& answer) {
        state->cancellation.ended();
        if (!answer) return state->fail(answer.error());
        state->finish(grpc::Status::OK, [&](ModelInferResponse& response) {
          fill_answer(head, call, *answer, response);
        });
      });
  auto started = kit.backend.generate(std::move(request), sink);
  if (!started) return state->fail(started.error());
  state->cancellation.began(*std::move(started));
}

}  // namespace

grpc::ServerUnaryReactor* start_infer(KitPtr kit, grpc::CallbackServerContext& context,
                                      const inference::ModelInferRequest& request,
                                      ModelInferResponse& response, Caller caller,
                                      Running::Place place) {
  auto* reactor = new InferReactor(kit, response, std::move(place));
  const std::shared_ptr<InferState> state = reactor->state;
  Begun begun{.model = request.model_name(),
              .version = request.model_version(),
              .caller = std::move(caller),
              .deadline = kit->deadline(context),
              .raw = request.raw_input_contents_size() > 0};
  // The message belongs to gRPC and may go as soon as the call is cancelled: it is copied here.
  auto input = to_infer_input(request);
  if (!input) {
    state->fail(input.error());
    return reactor;
  }
  const Outcome queued = kit->workers.submit(
      [kit, state, begun = std::move(begun), input = *std::move(input)]() mutable {
        begin(*kit, state, begun, std::move(input));
      });
  if (!queued) state->fail(queued.error());
  return reactor;
}

}  // namespace sluice::rpc
