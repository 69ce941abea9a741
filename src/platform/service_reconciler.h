// ServiceReconciler: an InferenceService → its Revisions, what each of them is to it, the split of
// its traffic, and its status in KServe's words.
//
// Each component's present specification is a Revision, found by its template's hash or made; of a
// predictor that shares its process, its group's (process_sharing.h). Who
// gets what of the traffic is rollout's step(); its state stands in the service's status. A new
// split is written first, what it takes replicas from after it, and what must be there before it is
// raised was asked for before. The queue's thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "control/object_store.h"
#include "platform/context.h"
#include "platform/load_book.h"
#include "platform/process_sharing.h"
#include "platform/rollout.h"
#include "platform/service_status.h"
#include "platform/views.h"

namespace sluice::platform {

struct ServiceHooks {
  // Where clients reach a service; empty: not known.
  std::function<std::string(const std::string& ns, const std::string& name)> url;
  // Asks an external check; gives its answer once it is there, and nothing before. Called again and
  // again with the same look until then.
  std::function<std::optional<RolloutInput::Check>(const control::ObjectKey& service,
                                                   const RolloutCheckDue& due)>
      check;
  // For the audit log.
  std::function<void(const control::StoredObject& service, const RolloutNote& note)> audit;
  // Why the gateway cannot serve it; empty: it can.
  std::function<std::string(const control::ObjectKey& service)> plan_problem;
  // Whether every gateway has its route.
  std::function<bool(const control::ObjectKey& service)> in_force;
};

class ServiceReconciler {
 public:
  ServiceReconciler(Context& context, LoadBook& book, ServiceHooks hooks)
      : context_(context), book_(book), hooks_(std::move(hooks)) {}

  WorkDone reconcile(const std::string& ns, const std::string& name);

 private:
  using ObjectPtr = control::ObjectPtr;

  // How a predictor shares its process with those of other services.
  struct Sharing {
    bool asked = false;
    std::string problem = {};             // why it has a process of its own all the same
    json::object process = {};            // shared_template()
    std::vector<ShareClaim> claims = {};  // of the present specification: one or none
    ProcessGroup group = {};
    std::string alone = {};  // what keeps others out of the group, where there are some
  };
  // One that runs replicas: a component, or a canary.
  struct Track {
    const json::object* spec = nullptr;
    ComponentFacts facts = {};
    RolloutPolicy policy = {};
    RolloutDecision decision = {};
    Sharing sharing = {};
    std::optional<double> look_at = {};  // again then, whatever the rollout says
  };
  using WantedRevisions = std::map<std::string, RevisionWant>;  // by name

  std::vector<Track> tracks_of(const ObjectPtr& service) const;
  bool find_latest(const ObjectPtr& service, const std::vector<ObjectPtr>& revisions, Track& track);
  ObjectPtr make_revision(const ObjectPtr& service, const std::vector<ObjectPtr>& revisions,
                          const Track& track, json::object spec, json::array owners);
  // service_sharing.cc
  bool joins_group(const ObjectPtr& service, const json::object& spec, Track& track);
  bool find_shared(const ObjectPtr& service, const std::vector<ObjectPtr>& revisions, Track& track);
  void wait_for_model(const json::object& spec, const ModelView& model, Track& track) const;
  std::string what_differs(const ObjectPtr& service, const json::object& mine) const;
  static void tell_sharing(const ObjectPtr& service, const Track& predictor, ServiceFacts& facts);
  bool is_kept(const control::StoredObject& revision) const;
  void collect(const std::vector<ObjectPtr>& revisions, Track& track) const;
  void roll(const ObjectPtr& service, int capacity, Track& track);
  int capacity_of(const ObjectPtr& service, const Track& predictor) const;
  WorkDone write_status(const ObjectPtr& service, const ServiceFacts& facts,
                        const std::vector<Track>& tracks);
  WantedRevisions roles(const ServiceFacts& facts, const std::vector<Track>& tracks,
                        int capacity) const;
  bool give_roles(const ObjectPtr& service, const std::vector<ObjectPtr>& revisions,
                  const WantedRevisions& wanted);
  void drop_old(const std::vector<ObjectPtr>& revisions, const std::vector<Track>& tracks);

  Context& context_;
  LoadBook& book_;
  ServiceHooks hooks_;
  const double began_ = context_.now();  // Unix time
  // Groups whose members have changed: since when. Those that come together make one revision.
  std::map<std::string, double> gathering_;
};

}  // namespace sluice::platform
