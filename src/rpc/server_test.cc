#include "rpc/server.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <mutex>
#include <string>
#include <thread>

#include "open_inference.grpc.pb.h"

namespace sluice::rpc {
namespace {

using completion::Delta;
using inference::GRPCInferenceService;

// Answers with "a", "b"; or holds the request until it is cancelled.
class FakeBackend : public completion::Backend {
 public:
  std::vector<completion::ModelCard> models() const override { return {card()}; }
  Result<completion::ModelCard> find_model(const std::string& name) const override {
    if (name == "m") return card();
    return fail(Code::kNotFound, "no such model", "model");
  }
  Result<std::shared_ptr<completion::Call>> generate(
      completion::Request request, std::shared_ptr<completion::ResponseSink> sink) override {
    tenant = request.tenant;
    auto call = std::make_shared<FakeCall>(*this, sink);
    sink->on_start({.tokens = {{1}}, .text = {}});
    if (hang) {
      ++held;
      return call;
    }
    for (const char* text : {"a", "b"}) {
      Delta delta;
      delta.text = text;
      if (*text == 'b') delta.finish = completion::FinishReason::kStop;
      sink->on_delta(delta);
    }
    sink->on_done({.prompt_tokens = 1, .completion_tokens = 2, .cached_tokens = 0});
    return call;
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
  std::atomic<int> held{0};
  std::atomic<int> cancels{0};
  std::string tenant;

 private:
  struct FakeCall : completion::Call {
    FakeCall(FakeBackend& b, std::shared_ptr<completion::ResponseSink> s)
        : backend(b), sink(std::move(s)) {}
    void cancel() override {
      ++backend.cancels;
      if (backend.hang) sink->on_error(Status(Code::kCancelled, "the request was cancelled"));
    }
    FakeBackend& backend;
    const std::shared_ptr<completion::ResponseSink> sink;
  };
  static completion::ModelCard card() { return {"m", "m.gguf", 512, 1.0, "fp_1"}; }
};

class ServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto server = RpcServer::start(backend_, metrics_, workers_, options());
    ASSERT_TRUE(server) << server.error().message();
    server_ = *std::move(server);
    stub_ = GRPCInferenceService::NewStub(grpc::CreateChannel(
        "127.0.0.1:" + std::to_string(server_->port()), grpc::InsecureChannelCredentials()));
  }
  static RpcOptions options() {
    RpcOptions options;
    options.authorize = [](const CallHeaders& headers) -> Result<Caller> {
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

  telemetry::Metrics metrics_;
  FakeBackend backend_;
  WorkerPool workers_{2, 64};
  std::unique_ptr<RpcServer> server_;
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

TEST_F(ServerTest, CountsByMethodAndStatus) {
  inference::ModelInferResponse answer;
  infer(request("other"), answer);
  const std::string page = metrics_.render(true, false);
  EXPECT_NE(page.find(R"(sluice_grpc_requests_total{method="ModelInfer",status="not_found"} 1)"),
            std::string::npos)
      << page;
}

}  // namespace
}  // namespace sluice::rpc
