// One request on its way through Rest. Internal to it.
#pragma once

#include <string>

#include "control/access.h"
#include "control/api_request.h"
#include "control/objects.h"
#include "control/rest.h"

namespace sluice::control {

struct Rest::Call {
  const net::HttpRequest& request;
  const Identity& who;
  ApiPath path;
  Query query;
  Verb verb = Verb::kGet;
  // What became of it, for the audit log.
  mutable std::string created_name = {};
  mutable std::string version = {};

  ObjectKey key() const { return {path.type, path.ns, path.name}; }
  // 404 for a subresource that the kind does not have.
  ApiResult<Subresource> subresource() const;
  ApiResult<WriteOptions> write_options() const;
  // fieldManager, else the program that asks.
  std::string manager() const;
};

}  // namespace sluice::control
