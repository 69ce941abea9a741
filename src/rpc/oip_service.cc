#include "rpc/oip_service.h"

#include "api/oip_response.h"
#include "base/build_info.h"
#include "rpc/grpc_status.h"
#include "rpc/oip_messages.h"

namespace sluice::rpc {

template <typename Work>
OipService::Unary* OipService::answer(Context& context, const char* method, const Work& work) {
  Outcome outcome;
  const auto caller = authorize(context);
  if (caller) {
    outcome = work(*caller);
  } else {
    outcome = std::unexpected(caller.error());
  }
  const grpc::Status status = outcome ? grpc::Status::OK : to_grpc(outcome.error());
  kit_->count(method, status);
  Unary* reactor = context.DefaultReactor();
  reactor->Finish(status);
  return reactor;
}

Result<Caller> OipService::authorize(const Context& context) const {
  return kit_->options.authorize(headers_of(context), context.peer());
}

bool OipService::ready() const { return kit_->backend.ready() && !kit_->running.leaving(); }

Outcome OipService::check_model(const Caller& caller, const std::string& model,
                                const std::string& version) const {
  if (kit_->options.may_use) SLUICE_RETURN_IF_ERROR(kit_->options.may_use(caller, model));
  SLUICE_RETURN_IF_ERROR(kit_->backend.find_model(model));
  return api::check_model_version(version);
}

Outcome OipService::change(Context& context, const std::string& model, bool load) const {
  SLUICE_RETURN_IF_ERROR(kit_->options.authorize_admin(headers_of(context)));
  SLUICE_ASSIGN_OR_RETURN(const auto place, kit_->running.enter());
  SLUICE_RETURN_IF_ERROR(api::change_model(kit_->backend, model, load));
  return {};
}

OipService::Unary* OipService::ServerLive(Context* context, const inference::ServerLiveRequest*,
                                          inference::ServerLiveResponse* response) {
  return answer(*context, "ServerLive", [&](const Caller&) -> Outcome {
    response->set_live(true);
    return {};
  });
}

OipService::Unary* OipService::ServerReady(Context* context, const inference::ServerReadyRequest*,
                                           inference::ServerReadyResponse* response) {
  return answer(*context, "ServerReady", [&](const Caller&) -> Outcome {
    response->set_ready(ready());
    return {};
  });
}

OipService::Unary* OipService::ModelReady(Context* context,
                                          const inference::ModelReadyRequest* request,
                                          inference::ModelReadyResponse* response) {
  return answer(*context, "ModelReady", [&](const Caller& caller) -> Outcome {
    SLUICE_RETURN_IF_ERROR(check_model(caller, request->name(), request->version()));
    response->set_ready(ready());
    return {};
  });
}

OipService::Unary* OipService::ServerMetadata(Context* context,
                                              const inference::ServerMetadataRequest*,
                                              inference::ServerMetadataResponse* response) {
  return answer(*context, "ServerMetadata", [&](const Caller&) -> Outcome {
    response->set_name("sluice");
    response->set_version(std::string(kVersion));
    response->add_extensions("model_repository_extension");
    return {};
  });
}

OipService::Unary* OipService::ModelMetadata(Context* context,
                                             const inference::ModelMetadataRequest* request,
                                             inference::ModelMetadataResponse* response) {
  return answer(*context, "ModelMetadata", [&](const Caller& caller) -> Outcome {
    SLUICE_RETURN_IF_ERROR(check_model(caller, request->name(), request->version()));
    fill_metadata(request->name(), *response);
    return {};
  });
}

OipService::Unary* OipService::ModelInfer(Context* context,
                                          const inference::ModelInferRequest* request,
                                          inference::ModelInferResponse* response) {
  auto caller = authorize(*context);
  auto place = kit_->running.enter();
  if (!caller || !place) {
    return answer(*context, "ModelInfer", [&](const Caller&) {
      return place ? Outcome() : std::unexpected(place.error());
    });
  }
  return start_infer(kit_, *context, *request, *response, *std::move(caller), *std::move(place));
}

grpc::ServerBidiReactor<inference::ModelInferRequest, inference::ModelStreamInferResponse>*
OipService::ModelStreamInfer(Context* context) {
  auto caller = authorize(*context);
  if (const auto place = kit_->running.enter(); caller && !place) {
    caller = std::unexpected(place.error());
  }
  return start_stream(kit_, *context, caller);
}

OipService::Unary* OipService::RepositoryModelLoad(
    Context* context, const inference::RepositoryModelLoadRequest* request,
    inference::RepositoryModelLoadResponse* response) {
  return answer(*context, "RepositoryModelLoad", [&](const Caller&) -> Outcome {
    SLUICE_RETURN_IF_ERROR(change(*context, request->model_name(), true));
    response->set_model_name(request->model_name());
    response->set_isloaded(true);
    return {};
  });
}

OipService::Unary* OipService::RepositoryModelUnload(
    Context* context, const inference::RepositoryModelUnloadRequest* request,
    inference::RepositoryModelUnloadResponse* response) {
  return answer(*context, "RepositoryModelUnload", [&](const Caller&) -> Outcome {
    SLUICE_RETURN_IF_ERROR(change(*context, request->model_name(), false));
    response->set_model_name(request->model_name());
    response->set_isunloaded(true);
    return {};
  });
}

}  // namespace sluice::rpc
