// ServingBackend: a completion::Backend whose models run in this process.
#pragma once

#include "base/status.h"
#include "completion/backend.h"
#include "serving/options.h"

namespace sluice::serving {

class ServingBackend : public completion::Backend {
 public:
  // Before any request; not thread-safe.
  virtual Outcome add_model(const ModelPath& path, const ModelSettings& settings) = 0;
  // Refuses new requests from now on; running ones go on.
  virtual void drain() = 0;
  // True when no request is left.
  virtual bool idle() const = 0;
};

}  // namespace sluice::serving
