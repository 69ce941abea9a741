// ObjectStatus: the status of what runs nothing: InferenceGraph, Provider, Tenant, ApiKey. Ready
// when the gateway's plan holds it. The queue's thread only.
#pragma once

#include <functional>
#include <string>

#include "control/object_store.h"
#include "platform/context.h"

namespace sluice::platform {

class ObjectStatus {
 public:
  // `problem`: why the gateway cannot serve it; `url`: where a graph is reached.
  ObjectStatus(Context& context, std::function<std::string(const control::ObjectKey&)> problem,
               std::function<std::string(const std::string& ns, const std::string& name)> url)
      : context_(context), problem_(std::move(problem)), url_(std::move(url)) {}

  // Whether objects of this type have a status that is written here.
  static bool covers(const control::ResourceType& type);
  WorkDone reconcile(const control::ObjectKey& key);

 private:
  Context& context_;
  std::function<std::string(const control::ObjectKey&)> problem_;
  std::function<std::string(const std::string& ns, const std::string& name)> url_;
};

}  // namespace sluice::platform
