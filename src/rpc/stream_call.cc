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

// What the reactor, the worker and the sinks share. Whatever happens is noted under the lock, which
// yields the one operation that comes next; gRPC is called without the lock. The reactor lives
// until it is finished, and it is finished only while neither a read nor a write is under way.
class StreamState : public std::enable_shared_from_this<StreamState> {
 public:
  StreamState(KitPtr kit, Reactor& reactor, Caller caller, TimePoint deadline)
      : kit_(std::move(kit)), reactor_(reactor), caller_(std::move(caller)), deadline_(deadline) {}

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
  enum class Step { kNone, kRead, kWrite, kFinish };

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
  void give_up(Code code, const char* message);
  void begin(const std::string& model, const std::string& version, bool raw, api::InferInput input);
  void end_with(const Status& status);

  const KitPtr kit_;
  Reactor& reactor_;
  const Caller caller_;
  const TimePoint deadline_;
  std::mutex mutex_;
  ModelInferRequest request_;
  std::deque<ModelStreamInferResponse> unsent_;
  size_t unsent_bytes_ = 0;
  std::shared_ptr<Cancellation> cancellation_;  // of the answer under way
  bool reading_ = false;
  bool writing_ = false;
  bool answering_ = false;
  bool no_more_requests_ = false;
  bool given_up_ = false;
  bool finished_ = false;
  grpc::Status status_ = grpc::Status::OK;
};

StreamState::Step StreamState::next() {
  if (finished_ || writing_) return Step::kNone;
  if (!unsent_.empty() && !given_up_) {
    writing_ = true;
    return Step::kWrite;
  }
  if (reading_) return Step::kNone;
  if (given_up_ || (!answering_ && no_more_requests_)) {
    finished_ = true;
    return Step::kFinish;
  }
  if (answering_) return Step::kNone;
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
      return reactor_.StartWrite(&unsent_.front());
    case Step::kFinish:
      kit_->count("ModelStreamInfer", status_);
      return reactor_.Finish(status_);
  }
}

void StreamState::give_up(Code code, const char* message) {
  if (given_up_) return;
  given_up_ = true;
  status_ = to_grpc(Status(code, message));
}

void StreamState::read_done(bool ok) {
  if (!ok) {
    return advance([this] {
      reading_ = false;
      no_more_requests_ = true;
    });
  }
  const std::string model = request_.model_name();
  const std::string version = request_.model_version();
  const bool raw = request_.raw_input_contents_size() > 0;
  auto input = to_infer_input(request_);
  bool wanted = false;
  advance([&] {
    reading_ = false;
    wanted = !given_up_;
    if (!wanted) return;
    answering_ = true;
    cancellation_ = std::make_shared<Cancellation>();
  });
  if (!wanted) return;
  if (!input) return end_with(input.error());
  const Outcome queued = kit_->workers.submit(
      [self = shared_from_this(), model, version, raw, input = *std::move(input)]() mutable {
        self->begin(model, version, raw, std::move(input));
      });
  if (!queued) end_with(queued.error());
}

void StreamState::write_done(bool ok) {
  advance([this, ok] {
    writing_ = false;
    unsent_bytes_ -= unsent_.front().ByteSizeLong();
    unsent_.pop_front();
    if (!ok) give_up(Code::kCancelled, "the client is gone");
  });
}

void StreamState::cancel() {
  std::shared_ptr<Cancellation> cancellation;
  advance([&] {
    give_up(Code::kCancelled, "the call was cancelled");
    cancellation = cancellation_;
  });
  if (cancellation) cancellation->cancel();
}

void StreamState::refuse(const Status& status) {
  advance([&] {
    given_up_ = true;
    status_ = to_grpc(status);
  });
}

void StreamState::push(ModelStreamInferResponse message) {
  std::shared_ptr<Cancellation> too_slow;
  advance([&] {
    if (given_up_ || finished_) return;
    unsent_bytes_ += message.ByteSizeLong();
    unsent_.push_back(std::move(message));
    if (unsent_bytes_ <= limits::kMaxUnsentBytes) return;
    give_up(Code::kResourceExhausted, "the client reads too slowly");
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

void StreamState::begin(const std::string& model, const std::string& version, bool raw,
                        api::InferInput input) {
  const auto card = kit_->backend.find_model(model);
  if (!card) return end_with(card.error());
  const Outcome known = api::check_model_version(version);
  if (!known) return end_with(known.error());
  auto call = api::make_infer_call(std::move(input));
  if (!call) return end_with(call.error());
  if (call->request.prompts.size() != 1) {
    return end_with(Status(Code::kInvalidArgument, "a streamed request takes one prompt"));
  }
  completion::Request request = std::move(call->request);
  request.id = new_id("infer-");
  request.model = model;
  request.tenant = caller_.tenant;
  request.context = caller_.context;
  request.deadline = deadline_;
  const auto sink = std::make_shared<StreamSink>(
      shared_from_this(), InferHead{.model = card->id, .raw = raw}, *std::move(call));
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
  StreamReactor(KitPtr kit, Caller caller, TimePoint deadline)
      : state(std::make_shared<StreamState>(std::move(kit), *this, std::move(caller), deadline)) {}
  void OnReadDone(bool ok) override { state->read_done(ok); }
  void OnWriteDone(bool ok) override { state->write_done(ok); }
  void OnCancel() override { state->cancel(); }
  void OnDone() override { delete this; }

  const std::shared_ptr<StreamState> state;
};

}  // namespace

Reactor* start_stream(KitPtr kit, grpc::CallbackServerContext& context,
                      const Result<Caller>& caller) {
  const TimePoint deadline = kit->deadline(context);
  auto* reactor = new StreamReactor(std::move(kit), caller.value_or(Caller()), deadline);
  if (caller) {
    reactor->state->start();
  } else {
    reactor->state->refuse(caller.error());
  }
  return reactor;
}

}  // namespace sluice::rpc
