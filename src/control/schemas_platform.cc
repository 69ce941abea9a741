#include "control/schema_texts.h"

namespace sluice::control {

std::string_view platform_schemas() {
  return R"(
= Revision -- One version of a component of an InferenceService. Made by the control plane.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec RevisionSpec! -- What its replicas run. It never changes.
status RevisionStatus -- How many replicas it has.

= RevisionSpec -- What the replicas of a revision run: the service's component over its runtime.
service string! -- InferenceService that it belongs to.
component string! enum=predictor|transformer|explainer -- Component of the service.
branch string -- Name of the canary that it is.
runtime RuntimeReference -- Runtime that was chosen.
modelNames []string -- What the server calls its model; the first is what it is asked for.
storageUri string -- Where the model lies.
process string -- Of one that several services share: what tells their processes from others.
models []SharedModel key=name -- Of one that several services share: their models.
container Container! -- The process of a replica.
serviceAccountName string -- ServiceAccount whose secrets open the storage.
terminationGracePeriodSeconds int64 min=0 -- Seconds that a replica has to drain.
labels map<string> -- Labels of its replicas.
annotations map<string> -- Annotations of its replicas.
containerConcurrency int64 min=0 -- Requests that one replica handles at a time; 0 is no limit.
timeoutSeconds int64 min=0 -- Seconds that a request may take.
templateHash string -- Fingerprint of what decides about the replicas.
source object -- The service's component as it was written, its scale left out: for going back.

= SharedModel -- A model of a revision that several services share.
name string! -- The service, as which the model is asked for.
storageUri string! -- Where the model lies.

= RuntimeReference -- A runtime.
kind string! -- ServingRuntime or ClusterServingRuntime.
name string! -- Its name.

= RevisionStatus -- How many replicas a revision has.
observedGeneration int64 -- Generation of the specification that was seen last.
role string enum=Retired|Serving|Candidate|Canary -- What it is to its service.
floor int32 -- Replicas that it has at least, as its service and its part of the traffic ask.
ceiling int32 -- Replicas that it has at most; 0 is no limit.
desired int32 -- Replicas that its load asks for.
granted int32 -- Replicas that the machine has room for.
replicas int32 -- Replicas that there are, those being drained apart.
readyReplicas int32 -- Replicas that take requests.
traffic int32 -- Percent of the component's requests that go to it.
proven bool -- It has had a replica that was ready.
wants []RevisionWant key=service -- Of one that several services share: what each asks for.
model ModelProgress -- Its model.
conditions []Condition key=type -- Ready, Scheduled, ModelReady.

= RevisionWant -- What a service asks of a revision that it shares; it gets the largest of all.
service string! -- The service.
role string enum=Serving|Candidate -- What it is to the service.
traffic int32 -- Percent of the service's requests that go to it.
floor int32 -- Replicas at least.
ceiling int32 -- Replicas at most; 0 is no limit.

= ModelProgress -- How much of a model is here.
phase string -- Ready, Pulling or Failed.
bytesDone int64 -- Bytes that are here.
bytesTotal int64 -- Bytes that it has; 0 while unknown.
message string -- Why it failed.

= Replica -- One process that serves a revision. Made by the control plane; one that is deleted
    is drained and replaced.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ReplicaSpec! -- What it belongs to.
status ReplicaStatus -- How it is.

= ReplicaSpec -- What a replica belongs to.
revision string! -- Revision that it serves.
service string! -- InferenceService that it serves.
graceSeconds int64 min=0 -- Seconds that it has to drain before it is killed.
memoryBytes int64 min=0 -- Memory that it asks for.
cpus number min=0 -- Cores that it asks for.

= ReplicaStatus -- How a replica is.
phase string enum=Pending|Starting|Ready|NotReady|Draining|Failed -- Where it stands.
message string -- Why it stands there.
url string -- Where it is reached.
pid int64 -- Its process.
restarts int32 -- How often it was started again.
failures int32 -- How often it ended since it was last well; decides how long a restart waits.
startedAt time -- When its process began.
readyAt time -- When it last became ready.
nextStart time -- When it is started again.
drainingAt time -- When it was taken out of the traffic.
lastExit ReplicaExit -- How its process ended the last time.
conditions []Condition key=type -- Ready, Scheduled.

= ReplicaExit -- How a process ended.
code int32 -- Exit code.
signal int32 -- Signal that ended it; 0: none.
reason string -- Completed, Error, OutOfMemory, NotLive, StartTimeout or CannotStart.
message string -- The last that it wrote.
at time -- When.
atUnix number -- When, in seconds since 1970.
)";
}

}  // namespace sluice::control
