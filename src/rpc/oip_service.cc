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

OipService::Unary* OipService::change(Context& context, const char* method,
                                      const std::string& model, bool load,
                                      std::function<void()> good) {
  Unary* reactor = context.DefaultReactor();
  const auto finish = [kit = kit_, method, reactor,
                       good = std::move(good)](const Outcome& outcome) {
    if (outcome) good();
    const grpc::Status status = outcome ? grpc::Status::OK : to_grpc(outcome.error());
    kit->count(method, status);
    reactor->Finish(status);
  };
  const auto place = [&]() -> Result<std::shared_ptr<Running::Place>> {
    SLUICE_RETURN_IF_ERROR(authorize(context));
    SLUICE_RETURN_IF_ERROR(kit_->options.authorize_admin(headers_of(context)));
    SLUICE_ASSIGN_OR_RETURN(auto entered, kit_->running.enter());
    return std::make_shared<Running::Place>(std::move(entered));
  }();
  if (!place) {
    finish(std::unexpected(place.error()));
  } else if (!kit_->backend.changes_models()) {
    const auto changed = api::change_model(kit_->backend, model, load);
    finish(changed ? Outcome() : std::unexpected(changed.error()));
  } else {
    kit_->backend.change_model(
        model, load, [finish, held = *place](const Outcome& outcome) { finish(outcome); });
  }
  return reactor;
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
  const std::string& model = request->model_name();
  return change(*context, "RepositoryModelLoad", model, true, [model, response] {
    response->set_model_name(model);
    response->set_isloaded(true);
  });
}

OipService::Unary* OipService::RepositoryModelUnload(
    Context* context, const inference::RepositoryModelUnloadRequest* request,
    inference::RepositoryModelUnloadResponse* response) {
  const std::string& model = request->model_name();
  return change(*context, "RepositoryModelUnload", model, false, [model, response] {
    response->set_model_name(model);
    response->set_isunloaded(true);
  });
}

}  // namespace sluice::rpc
