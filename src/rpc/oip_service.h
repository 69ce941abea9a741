// OipService: the methods of GRPCInferenceService. Internal to rpc.
#pragma once

#include "open_inference.grpc.pb.h"
#include "rpc/call_kit.h"

namespace sluice::rpc {

// Called on gRPC's threads; nothing here blocks. Every method needs a key where keys are set.
class OipService : public inference::GRPCInferenceService::CallbackService {
 public:
  explicit OipService(KitPtr kit) : kit_(std::move(kit)) {}

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;

  Unary* ServerLive(Context* context, const inference::ServerLiveRequest* request,
                    inference::ServerLiveResponse* response) override;
  Unary* ServerReady(Context* context, const inference::ServerReadyRequest* request,
                     inference::ServerReadyResponse* response) override;
  Unary* ModelReady(Context* context, const inference::ModelReadyRequest* request,
                    inference::ModelReadyResponse* response) override;
  Unary* ServerMetadata(Context* context, const inference::ServerMetadataRequest* request,
                        inference::ServerMetadataResponse* response) override;
  Unary* ModelMetadata(Context* context, const inference::ModelMetadataRequest* request,
                       inference::ModelMetadataResponse* response) override;
  Unary* ModelInfer(Context* context, const inference::ModelInferRequest* request,
                    inference::ModelInferResponse* response) override;
  grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
  ModelStreamInfer(Context* context) override;
  Unary* RepositoryModelLoad(Context* context, const inference::RepositoryModelLoadRequest* request,
                             inference::RepositoryModelLoadResponse* response) override;
  Unary* RepositoryModelUnload(Context* context,
                               const inference::RepositoryModelUnloadRequest* request,
                               inference::RepositoryModelUnloadResponse* response) override;

 private:
  Result<Caller> authorize(const Context& context) const;
  // Finishes a call that is answered on the spot: `work` runs when the caller may call.
  template <typename Work>
  Unary* answer(Context& context, const char* method, const Work& work);
  bool ready() const;
  Outcome check_model(const Caller& caller, const std::string& model,
                      const std::string& version) const;
  // Answers once the model is loaded or unloaded; `good` fills the answer in.
  Unary* change(Context& context, const char* method, const std::string& model, bool load,
                std::function<void()> good);

  const KitPtr kit_;
};

}  // namespace sluice::rpc
