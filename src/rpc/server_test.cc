#include "rpc/server.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <future>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/limits.h"
#include "open_inference.grpc.pb.h"

namespace sluice::rpc {
namespace {

using completion::Delta;
using inference::GRPCInferenceService;

// Answers with "a", "b"; or holds the request until it is released or cancelled; or, when flooding,
// sends much more than may wait for a reader.
class FakeBackend : public completion::Backend {
 public:
  std::vector<completion::ModelCard> models() const override { return {card()}; }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    if (name == "m") return card();
    return fail(Code::kNotFound, "no such model", "model");
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    {
      const std::lock_guard lock(mutex_);
      tenant = request.tenant;
      deadlines.push_back(*request.deadline);
    }
    auto call = std::make_shared<FakeCall>(*this, sink);
    sink->on_start({.tokens = {{1}}, .text = {}});
    if (flood) {
      Delta delta;
      delta.text = std::string(64 << 10, 'x');
      for (size_t sent = 0; sent < 4 * limits::kMaxUnsentBytes; sent += delta.text.size()) {
        sink->on_delta(delta);
      }
    }
    if (hang || flood) {
      const std::lock_guard lock(mutex_);
      sinks_.push_back(sink);
      ++held;
      return call;
    }
    answer(*sink);
    return call;
  }
  // Answers what is held.
  void release() {
    hang = false;
    std::vector<std::shared_ptr<completion::ResponseSink>> sinks;
    {
      const std::lock_guard lock(mutex_);
      sinks.swap(sinks_);
    }
    for (const auto& sink : sinks) answer(*sink);
  }
  Result<completion::TokenizeResult> tokenize(const completion::TokenizeRequest&) const override {
    return completion::TokenizeResult{};
  }
  Result<std::string> detokenize(const std::string&, const std::vector<int32_t>&) const override {
    return "";
  }
  bool ready() const override { return true; }
  uint64_t steps(const std::string&) const override { return 0; }

  std::atomic<bool> hang{false};
  std::atomic<bool> flood{false};
  std::atomic<int> held{0};
  std::atomic<int> cancels{0};
  std::string tenant;
  std::vector<TimePoint> deadlines;  // of the requests so far

 private:
  static void answer(completion::ResponseSink& sink) {
    for (const char* text : {"a", "b"}) {
      Delta delta;
      delta.text = text;
      if (*text == 'b') delta.finish = completion::FinishReason::kStop;
      sink.on_delta(delta);
    }
    sink.on_done({.prompt_tokens = 1, .completion_tokens = 2, .cached_tokens = 0});
  }
  struct FakeCall : completion::Call {
    FakeCall(FakeBackend& b, std::shared_ptr<completion::ResponseSink> s)
        : backend(b), sink(std::move(s)) {}
    void cancel() override {
      ++backend.cancels;
      if (backend.hang || backend.flood)
        sink->on_error(Status(Code::kCancelled, "the request was cancelled"));
    }
    FakeBackend& backend;
    const std::shared_ptr<completion::ResponseSink> sink;
  };
  static completion::ModelCard card() { return {"m", "m.gguf", 512, 1.0, "fp_1"}; }

  std::mutex mutex_;
  std::vector<std::shared_ptr<completion::ResponseSink>> sinks_;
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = RpcServer::start(backend_, metrics_, workers_, options(), clock_);
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    channel_ = grpc::CreateChannel("127.0.0.1:" + std::to_string(server_->port()),
                                   grpc::InsecureChannelCredentials());
    stub_ = GRPCInferenceService::NewStub(channel_);
  }
  static RpcOptions options() {
    RpcOptions options;
    options.authorize = [](const CallHeaders& headers, const std::string&) -> Result<Caller> {
      for (const auto& [name, value] : headers) {
        if (name == "authorization" && value == "Bearer k") return Caller{.tenant = "tenant-k"};
      }
      return fail(Code::kUnauthenticated, "a key is needed");
    };
    options.authorize_admin = [](const CallHeaders&) -> Outcome {
      return fail(Code::kPermissionDenied, "an admin key is needed");
    };
    return options;
  }
  static inference::ModelInferRequest request(const std::string& model = "m") {
    inference::ModelInferRequest out;
    out.set_model_name(model);
    auto& input = *out.add_inputs();
    input.set_name("text_input");
    input.set_datatype("BYTES");
    input.add_shape(1);
    input.mutable_contents()->add_bytes_contents("x");
    return out;
  }
  static void authorize(grpc::ClientContext& context) {
    context.AddMetadata("authorization", "Bearer k");
  }
  grpc::Status infer(const inference::ModelInferRequest& message,
                     inference::ModelInferResponse& answer) {
    grpc::ClientContext context;
    authorize(context);
    return stub_->ModelInfer(&context, message, &answer);
  }

  bool ready() {
    grpc::ClientContext context;
    authorize(context);
    inference::ServerReadyResponse answer;
    EXPECT_TRUE(stub_->ServerReady(&context, {}, &answer).ok());
    return answer.ready();
  }
  // The answer of grpc.health.v1.Health, whose one field is the status: 1 serving, 2 not serving.
  std::string health() {
    grpc::ClientContext context;
    grpc::GenericStub health(channel_);
    const grpc::Slice no_bytes;
    const grpc::ByteBuffer empty(&no_bytes, 1);
    grpc::ByteBuffer answer;
    std::promise<bool> done;
    health.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &empty, &answer,
                     [&done](const grpc::Status& status) { done.set_value(status.ok()); });
    EXPECT_TRUE(done.get_future().get());
    grpc::Slice bytes;
    EXPECT_TRUE(answer.DumpToSingleSlice(&bytes).ok());
    return {bytes.begin(), bytes.end()};
  }
  int64_t counted(const std::string& method, const std::string& status) {
    const std::string line =
        "sluice_grpc_requests_total{method=\"" + method + "\",status=\"" + status + "\"} ";
    const std::string page = metrics_.render(true, false);
    const size_t at = page.find(line);
    return at == std::string::npos ? 0 : std::stoll(page.substr(at + line.size()));
  }

  telemetry::Metrics metrics_;
  ManualClock clock_;
  FakeBackend backend_;
  WorkerPool workers_{2, 64};
  std::unique_ptr<RpcServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<GRPCInferenceService::Stub> stub_;
};

TEST_F(ServerTest, Infers) {
  inference::ModelInferResponse answer;
  const grpc::Status status = infer(request(), answer);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(answer.outputs(0).contents().bytes_contents(0), "ab");
  EXPECT_EQ(backend_.tenant, "tenant-k");
}

TEST_F(ServerTest, EveryMethodNeedsAKey) {
  using grpc::StatusCode;
  grpc::ClientContext live, metadata, infers, streams;
  inference::ServerLiveResponse live_answer;
  EXPECT_EQ(stub_->ServerLive(&live, {}, &live_answer).error_code(), StatusCode::UNAUTHENTICATED);
  inference::ModelMetadataResponse metadata_answer;
  EXPECT_EQ(stub_->ModelMetadata(&metadata, {}, &metadata_answer).error_code(),
            StatusCode::UNAUTHENTICATED);
  inference::ModelInferResponse answer;
  EXPECT_EQ(stub_->ModelInfer(&infers, request(), &answer).error_code(),
            StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(stub_->ModelStreamInfer(&streams)->Finish().error_code(), StatusCode::UNAUTHENTICATED);
}

TEST_F(ServerTest, TheRepositoryNeedsAnAdmin) {
  grpc::ClientContext context;
  authorize(context);
  inference::RepositoryModelLoadResponse answer;
  inference::RepositoryModelLoadRequest load;
  load.set_model_name("m");
  EXPECT_EQ(stub_->RepositoryModelLoad(&context, load, &answer).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
}

TEST_F(ServerTest, ErrorsHaveTheirCodes) {
  inference::ModelInferResponse answer;
  EXPECT_EQ(infer(request("other"), answer).error_code(), grpc::StatusCode::NOT_FOUND);
  auto message = request();
  message.set_model_version("9");
  EXPECT_EQ(infer(message, answer).error_code(), grpc::StatusCode::NOT_FOUND);
  message = request();
  message.mutable_inputs(0)->set_datatype("FP32");
  EXPECT_EQ(infer(message, answer).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(ServerTest, ADeadlineEndsTheCallAndTheGeneration) {
  backend_.hang = true;
  grpc::ClientContext context;
  authorize(context);
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(100));
  inference::ModelInferResponse answer;
  EXPECT_EQ(stub_->ModelInfer(&context, request(), &answer).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
  while (backend_.cancels < backend_.held) std::this_thread::yield();
}

TEST_F(ServerTest, ACancelledCallCancelsTheGeneration) {
  backend_.hang = true;
  grpc::ClientContext context;
  authorize(context);
  const std::jthread canceller([&] {
    while (backend_.held == 0) std::this_thread::yield();
    context.TryCancel();
  });
  inference::ModelInferResponse answer;
  EXPECT_EQ(stub_->ModelInfer(&context, request(), &answer).error_code(),
            grpc::StatusCode::CANCELLED);
  while (backend_.cancels == 0) std::this_thread::yield();
}

TEST_F(ServerTest, AStreamAnswersOneRequestAfterAnother) {
  grpc::ClientContext context;
  authorize(context);
  const auto stream = stub_->ModelStreamInfer(&context);
  for (const char* model : {"m", "other", "m"}) ASSERT_TRUE(stream->Write(request(model)));
  stream->WritesDone();
  std::string heard;
  inference::ModelStreamInferResponse message;
  while (stream->Read(&message)) {
    heard += message.error_message().empty()
                 ? message.infer_response().outputs(0).contents().bytes_contents(0)
                 : "!";
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(heard, "ab!ab");
}

TEST_F(ServerTest, ACancelledStreamCancelsTheGeneration) {
  backend_.hang = true;
  grpc::ClientContext context;
  authorize(context);
  const auto stream = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request()));
  while (backend_.held == 0) std::this_thread::yield();
  context.TryCancel();
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  while (backend_.cancels == 0) std::this_thread::yield();
}

TEST_F(ServerTest, EveryRequestOfAStreamHasItsOwnDeadline) {
  grpc::ClientContext context;
  authorize(context);
  const auto stream = stub_->ModelStreamInfer(&context);
  inference::ModelStreamInferResponse message;
  for (int i = 0; i < 2; ++i) {
    clock_.advance(std::chrono::hours(1));
    ASSERT_TRUE(stream->Write(request()));
    for (int piece = 0; piece < 2; ++piece) ASSERT_TRUE(stream->Read(&message));
  }
  stream->WritesDone();
  EXPECT_TRUE(stream->Finish().ok());
  const TimePoint second = clock_.now() + options().request_timeout;
  EXPECT_EQ(backend_.deadlines, (std::vector<TimePoint>{second - std::chrono::hours(1), second}));
}

// What the address and thread sanitizers look at: the client leaves while the answer ends.
TEST_F(ServerTest, AStreamEndsOnceWhateverComesFirst) {
  constexpr int kStreams = 64;
  for (int i = 0; i < kStreams; ++i) {
    backend_.hang = true;
    grpc::ClientContext context;
    authorize(context);
    const auto stream = stub_->ModelStreamInfer(&context);
    ASSERT_TRUE(stream->Write(request()));
    stream->WritesDone();
    while (backend_.held <= i) std::this_thread::yield();
    const std::jthread releaser([&] { backend_.release(); });
    context.TryCancel();
    stream->Finish();
  }
  EXPECT_TRUE(server_->drain(std::chrono::seconds(30)));
  EXPECT_EQ(counted("ModelStreamInfer", "ok") + counted("ModelStreamInfer", "cancelled"), kStreams);
}

TEST_F(ServerTest, AReaderThatIsTooSlowIsCut) {
  backend_.flood = true;
  grpc::ClientContext context;
  authorize(context);
  const auto stream = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request()));
  while (backend_.cancels == 0) std::this_thread::yield();
  // Nothing was read, and yet the call has ended.
  EXPECT_TRUE(server_->drain(std::chrono::seconds(30)));
  EXPECT_EQ(counted("ModelStreamInfer", "resource_exhausted"), 1);
  inference::ModelStreamInferResponse message;
  while (stream->Read(&message)) {
  }
  EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
}

TEST_F(ServerTest, AHandedSocketRefusesNobodyBetweenOneServerAndTheNext) {
  const int held = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  ASSERT_GE(held, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto* const where = reinterpret_cast<sockaddr*>(&address);
  socklen_t length = sizeof(address);
  ASSERT_EQ(::bind(held, where, length), 0);
  ASSERT_EQ(::listen(held, 8), 0);
  ASSERT_EQ(::getsockname(held, where, &length), 0);
  for (int turn = 0; turn < 2; ++turn) {
    RpcOptions handed = options();
    handed.listen_fd = ::dup(held);
    auto server = RpcServer::start(backend_, metrics_, workers_, handed);
    ASSERT_TRUE(server) << server.error().message();
    EXPECT_EQ((*server)->port(), ntohs(address.sin_port));
    grpc::ChannelArguments own;  // not the connection of the turn before
    own.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    const auto client = GRPCInferenceService::NewStub(grpc::CreateCustomChannel(
        "127.0.0.1:" + std::to_string((*server)->port()), grpc::InsecureChannelCredentials(), own));
    grpc::ClientContext context;
    authorize(context);
    inference::ModelInferResponse answer;
    const grpc::Status status = client->ModelInfer(&context, request(), &answer);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_TRUE((*server)->drain(std::chrono::seconds(30)));
    server->reset();
    const int waiting = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ASSERT_GE(waiting, 0);
    EXPECT_EQ(::connect(waiting, where, length), 0) << std::strerror(errno);
    ::close(waiting);
  }
  ::close(held);
}

TEST_F(ServerTest, ATakenPortIsAnError) {
  RpcOptions taken = options();
  taken.port = server_->port();
  EXPECT_EQ(RpcServer::start(backend_, metrics_, workers_, taken).error().code(),
            Code::kUnavailable);
}

TEST_F(ServerTest, DrainingCutsWhatDoesNotEnd) {
  EXPECT_TRUE(server_->drain(std::chrono::seconds(30)));
  SetUp();
  backend_.hang = true;
  grpc::ClientContext context;
  authorize(context);
  const auto stream = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(stream->Write(request()));
  while (backend_.held == 0) std::this_thread::yield();
  EXPECT_FALSE(server_->drain(std::chrono::milliseconds(20)));
  EXPECT_EQ(backend_.cancels, 1);
}

// The request counts until its last message has been taken, which may be after the client reads it.
TEST_F(ServerTest, DrainingCountsWhatIsUnderWayAndNotTheTime) {
  grpc::ClientContext context;
  authorize(context);
  const auto idle = stub_->ModelStreamInfer(&context);
  ASSERT_TRUE(idle->Write(request()));
  inference::ModelStreamInferResponse message;
  for (int piece = 0; piece < 2; ++piece) ASSERT_TRUE(idle->Read(&message));
  EXPECT_TRUE(server_->drain(std::chrono::seconds(30)));
  EXPECT_FALSE(idle->Finish().ok());
  EXPECT_TRUE(server_->drain(Duration::zero()));
}

TEST_F(ServerTest, LeavingRefusesWhatIsNewAndLetsTheRestEnd) {
  using grpc::StatusCode;
  EXPECT_TRUE(ready());
  EXPECT_EQ(health(), "\x08\x01");
  grpc::ClientContext opened, late;
  authorize(opened);
  authorize(late);
  const auto open = stub_->ModelStreamInfer(&opened);
  inference::ModelStreamInferResponse message;
  ASSERT_TRUE(open->Write(request()));
  for (int piece = 0; piece < 2; ++piece) ASSERT_TRUE(open->Read(&message));

  backend_.hang = true;
  inference::ModelInferResponse answer;
  auto under_way = std::async(std::launch::async, [&] { return infer(request(), answer); });
  while (backend_.held == 0) std::this_thread::yield();
  server_->leave();
  EXPECT_FALSE(ready());
  EXPECT_EQ(health(), "\x08\x02");
  inference::ModelInferResponse refused;
  EXPECT_EQ(infer(request(), refused).error_code(), StatusCode::UNAVAILABLE);
  EXPECT_EQ(stub_->ModelStreamInfer(&late)->Finish().error_code(), StatusCode::UNAVAILABLE);
  ASSERT_TRUE(open->Write(request()));
  EXPECT_EQ(open->Finish().error_code(), StatusCode::UNAVAILABLE);

  auto drained =
      std::async(std::launch::async, [&] { return server_->drain(std::chrono::hours(1)); });
  backend_.release();
  EXPECT_TRUE(drained.get());
  EXPECT_TRUE(under_way.get().ok());
  EXPECT_EQ(answer.outputs(0).contents().bytes_contents(0), "ab");
}

TEST_F(ServerTest, CountsByMethodAndStatus) {
  inference::ModelInferResponse answer;
  infer(request("other"), answer);
  EXPECT_EQ(counted("ModelInfer", "not_found"), 1);
}

}  // namespace
}  // namespace sluice::rpc
