#include <deque>
#include <mutex>
#include <utility>

#include "base/ids.h"
#include "base/limits.h"
#include "rpc/call_kit.h"
#include "rpc/grpc_status.h"
#include "rpc/oip_messages.h"

namespace sluice::rpc {
namespace {

using inference::ModelInferRequest;
using inference::ModelStreamInferResponse;
using Reactor = grpc::ServerBidiReactor<ModelInferRequest, ModelStreamInferResponse>;

// One request of a stream.
struct Asked {
  std::string model;
  std::string version;
  bool raw = false;
  TimePoint deadline;
  api::InferInput input;
};

// What the reactor, the worker and the sinks share. Whatever happens is noted under the lock, which
// yields the one operation that comes next; gRPC is called without the lock. The reactor and its
// context live until it is finished, and it is finished only while no operation is under way.
class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(KitPtr kit, Reactor& reactor, grpc::CallbackServerContext& context, Caller caller)
      : kit_(std::move(kit)), reactor_(reactor), context_(context), caller_(std::move(caller)) {}

  void start() {
    advance([] {});
  }
  void read_done(bool ok);
  void write_done(bool ok);
  void cancel();
  void refuse(const Status& status);

  // From the answer of the request under way.
  void push(ModelStreamInferResponse message);
  void answer_ended();

 private:
  enum class Step { kNone, kRead, kWrite, kCut, kFinish };

  template <typename Change>
  void advance(const Change& change) {
    Step step;
    {
      const std::lock_guard lock(mutex_);
      change();
      step = next();
    }
    take(step);
  }
  Step next();
  void take(Step step);
  void give_up(const Status& status);
  void begin(Asked asked);
  void end_with(const Status& status);

  const KitPtr kit_;
  Reactor& reactor_;
  grpc::CallbackServerContext& context_;
  const Caller caller_;
  std::mutex mutex_;
  ModelInferRequest request_;
  ModelStreamInferResponse sending_;
  std::deque<ModelStreamInferResponse> unsent_;
  size_t unsent_bytes_ = 0;  // in memory
  Running::Place place_;     // of the request under way, until its answer has been sent
  std::shared_ptr<Cancellation> cancellation_;  // of the answer under way
  bool reading_ = false;
  bool writing_ = false;
  bool answering_ = false;
  bool no_more_requests_ = false;
  bool given_up_ = false;
  bool too_slow_ = false;
  bool cutting_ = false;
  bool finished_ = false;
  grpc::Status status_ = grpc::Status::OK;
};

StreamState::Step StreamState::next() {
  if (finished_ || cutting_) return Step::kNone;
  if (too_slow_) {
    // The write under way ends only with the call.
    too_slow_ = false;
    cutting_ = true;
    return Step::kCut;
  }
  if (writing_) return Step::kNone;
  if (!unsent_.empty()) {
    unsent_bytes_ -= unsent_.front().SpaceUsedLong();
    sending_ = std::move(unsent_.front());
    unsent_.pop_front();
    writing_ = true;
    return Step::kWrite;
  }
  if (reading_ || (answering_ && !given_up_)) return Step::kNone;
  place_.reset();
  if (given_up_ || no_more_requests_) {
    finished_ = true;
    return Step::kFinish;
  }
  reading_ = true;
  return Step::kRead;
}

void StreamState::take(Step step) {
  switch (step) {
    case Step::kNone:
      return;
    case Step::kRead:
      return reactor_.StartRead(&request_);
    case Step::kWrite:
      return reactor_.StartWrite(&sending_);
    case Step::kCut:
      context_.TryCancel();
      return advance([this] { cutting_ = false; });
    case Step::kFinish:
      kit_->count("ModelStreamInfer", status_);
      return reactor_.Finish(status_);
  }
}

void StreamState::give_up(const Status& status) {
  if (given_up_ || finished_) return;
  given_up_ = true;
  status_ = to_grpc(status);
  unsent_.clear();
  unsent_bytes_ = 0;
}

void StreamState::read_done(bool ok) {
  if (!ok) {
    return advance([this] {
      reading_ = false;
      no_more_requests_ = true;
    });
  }
  Asked asked{.model = request_.model_name(),
              .version = request_.model_version(),
              .raw = request_.raw_input_contents_size() > 0,
              .deadline = kit_->deadline(context_),
              .input = {}};
  auto input = to_infer_input(request_);
  auto place = kit_->running.enter();
  bool wanted = false;
  advance([&] {
    reading_ = false;
    if (!place) give_up(place.error());
    wanted = !given_up_;
    if (!wanted) return;
    place_ = *std::move(place);
    answering_ = true;
    cancellation_ = std::make_shared<Cancellation>();
  });
  if (!wanted) return;
  if (!input) return end_with(input.error());
  asked.input = *std::move(input);
  const Outcome queued =
      kit_->workers.submit([self = shared_from_this(), asked = std::move(asked)]() mutable {
        self->begin(std::move(asked));
      });
  if (!queued) end_with(queued.error());
}

void StreamState::write_done(bool ok) {
  advance([this, ok] {
    writing_ = false;
    if (!ok) give_up(Status(Code::kCancelled, "the client is gone"));
  });
}

void StreamState::cancel() {
  std::shared_ptr<Cancellation> cancellation;
  advance([&] {
    give_up(Status(Code::kCancelled, "the call was cancelled"));
    cancellation = cancellation_;
  });
  if (cancellation) cancellation->cancel();
}

void StreamState::refuse(const Status& status) {
  advance([&] { give_up(status); });
}

void StreamState::push(ModelStreamInferResponse message) {
  std::shared_ptr<Cancellation> too_slow;
  advance([&] {
    if (given_up_ || finished_) return;
    unsent_.push_back(std::move(message));
    unsent_bytes_ += unsent_.back().SpaceUsedLong();
    if (unsent_bytes_ <= limits::kMaxUnsentBytes) return;
    give_up(Status(Code::kResourceExhausted, "the client reads too slowly"));
    too_slow_ = true;
    too_slow = cancellation_;
  });
  if (too_slow) too_slow->cancel();
}

void StreamState::answer_ended() {
  std::shared_ptr<Cancellation> cancellation;
  advance([&] {
    answering_ = false;
    cancellation = std::exchange(cancellation_, nullptr);
  });
  if (cancellation) cancellation->ended();
}

void StreamState::end_with(const Status& status) {
  ModelStreamInferResponse message;
  message.set_error_message(status.message());
  push(std::move(message));
  answer_ended();
}

// One answer's deltas as messages.
class StreamSink : public completion::ResponseSink {
 public:
  StreamSink(std::shared_ptr<StreamState> state, InferHead head, api::InferCall call)
      : state_(std::move(state)), head_(std::move(head)), call_(std::move(call)) {}

  void on_start(completion::PromptInfo) override {}
  void on_prompt_logprobs(int, std::vector<completion::LogprobEntry>) override {}
  void on_delta(completion::Delta delta) override {
    ModelStreamInferResponse message;
    fill_delta(head_, call_, delta, *message.mutable_infer_response());
    state_->push(std::move(message));
  }
  void on_done(const completion::Usage&) override { state_->answer_ended(); }
  void on_error(const Status& status) override {
    ModelStreamInferResponse message;
    message.set_error_message(status.message());
    state_->push(std::move(message));
    state_->answer_ended();
  }

 private:
  const std::shared_ptr<StreamState> state_;
  const InferHead head_;
  const api::InferCall call_;
};

void StreamState::begin(Asked asked) {
  const auto card = kit_->backend.find_model(asked.model);
  if (!card) return end_with(card.error());
  const Outcome known = api::check_model_version(asked.version);
  if (!known) return end_with(known.error());
  auto call = api::make_infer_call(std::move(asked.input));
  if (!call) return end_with(call.error());
  if (call->request.prompts.size() != 1) {
    return end_with(Status(Code::kInvalidArgument, "a streamed request takes one prompt"));
  }
  completion::Request request = std::move(call->request);
  request.id = new_id("infer-");
  request.model = std::move(asked.model);
  request.tenant = caller_.tenant;
  request.context = caller_.context;
  request.deadline = asked.deadline;
  const auto sink = std::make_shared<StreamSink>(
      shared_from_this(), InferHead{.model = card->id, .raw = asked.raw}, *std::move(call));
  std::shared_ptr<Cancellation> cancellation;
  {
    const std::lock_guard lock(mutex_);
    cancellation = cancellation_;
  }
  auto started = kit_->backend.generate(std::move(request), sink);
  if (!started) return end_with(started.error());
  cancellation->began(*std::move(started));
}

class StreamReactor : public Reactor {
 public:
  StreamReactor(KitPtr kit, grpc::CallbackServerContext& context, Caller caller)
      : state(std::make_shared<StreamState>(std::move(kit), *this, context, std::move(caller))) {}
  void OnReadDone(bool ok) override { state->read_done(ok); }
  void OnWriteDone(bool ok) override { state->write_done(ok); }
  void OnCancel() override { state->cancel(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<StreamState> state;
};

}  // namespace

Reactor* start_stream(KitPtr kit, grpc::CallbackServerContext& context,
                      const Result<Caller>& caller) {
  auto* reactor = new StreamReactor(std::move(kit), context, caller.value_or(Caller()));
  if (caller) {
    reactor->state->start();
  } else {
    reactor->state->refuse(caller.error());
  }
  return reactor;
}

}  // namespace sluice::rpc
