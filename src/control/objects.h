// Objects: what the API does with objects, whoever asks: the REST routes, and the reconcilers in
// this process. Validation, defaults, admission, ownership of fields, versions, deletion.
//
// Callable from any thread; changes come one after another, reads never wait for them.
#pragma once

#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "control/access.h"
#include "control/admission.h"
#include "control/api_error.h"
#include "control/managed_fields.h"
#include "control/object_store.h"
#include "control/resource_types.h"

namespace sluice::control {

enum class Subresource { kNone, kStatus, kScale };
enum class PatchKind { kJson, kMerge, kStrategic, kApply };
// What becomes of fields that no schema names: refused, warned about, or dropped.
enum class FieldValidation { kStrict, kWarn, kIgnore };

struct WriteOptions {
  Identity who;
  std::string manager = "unknown";  // of the fields that change
  FieldValidation validation = FieldValidation::kWarn;
  bool dry_run = false;
  bool force = false;  // of apply: take fields from their managers
};

struct Written {
  ObjectPtr object;  // of a dry run: as it would be
  bool created = false;
  bool changed = false;
  std::vector<std::string> warnings;
};

enum class Propagation { kBackground, kForeground, kOrphan };

struct DeleteOptions {
  Propagation propagation = Propagation::kBackground;
  std::string uid;               // must be the object's, when given
  std::string resource_version;  // likewise
  bool dry_run = false;
};

struct Deleted {
  ObjectPtr object;
  bool gone = false;  // else it waits for its finalizers
};

struct Draft;  // object_draft.h

class Objects {
 public:
  Objects(ObjectStore& store, AdmissionPolicy policy = {}, const Clock& clock = system_clock())
      : store_(store), policy_(std::move(policy)), clock_(clock) {}

  // Makes what must always be there: the namespace "default".
  ApiOutcome bootstrap();

  ObjectStore& store() { return store_; }
  const Clock& clock() const { return clock_; }

  ApiResult<ObjectPtr> get(const ObjectKey& key) const;

  ApiResult<Written> create(const ResourceType& type, std::string_view ns, json::object body,
                            const WriteOptions& options);
  // The whole object, or its status. A resourceVersion in the body must be the present one.
  ApiResult<Written> update(const ObjectKey& key, Subresource subresource, json::object body,
                            const WriteOptions& options);
  // kApply creates the object where it is missing.
  ApiResult<Written> patch(const ObjectKey& key, Subresource subresource, PatchKind kind,
                           const json::value& patch, const WriteOptions& options);
  ApiResult<Deleted> remove(const ObjectKey& key, const DeleteOptions& options);

  // Finishes the deletion of namespaces; called every second or so.
  void sweep();

  // For reconcilers: puts `status` where it differs; nothing is written where it does not.
  ApiResult<Written> update_status(const ObjectPtr& seen, json::object status,
                                   const WriteOptions& options);

 private:
  ApiResult<Written> finish(Draft& draft, const WriteOptions& options);
  ApiOutcome check_namespace(const Draft& draft) const;
  ApiOutcome check_owners(const Draft& draft) const;
  ApiOutcome validate(Draft& draft, const WriteOptions& options);
  ApiOutcome own_fields(Draft& draft, const WriteOptions& options) const;
  ApiResult<Written> store_draft(Draft& draft, const WriteOptions& options);
  ApiResult<Draft> apply_draft(const ObjectKey& key, const ObjectPtr& before,
                               Subresource subresource, const json::value& patch,
                               const WriteOptions& options) const;
  std::string now_text() const;
  ApiResult<Written> create_locked(const ResourceType& type, std::string_view ns, json::object body,
                                   const WriteOptions& options);
  void settle(std::vector<ObjectPtr> removed);

  ObjectStore& store_;
  const AdmissionPolicy policy_;
  const Clock& clock_;
  std::mutex mutex_;  // one change after another: what is read for it is still true at its commit
};

}  // namespace sluice::control
