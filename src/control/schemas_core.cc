#include "control/schema_texts.h"

namespace sluice::control {

std::string_view core_schemas() {
  return R"(
= ObjectMeta -- What every object carries.
name string -- Name, unique among its kind in the namespace. It cannot change.
generateName string -- A prefix that the server completes to a name when none is given.
namespace string -- Namespace of the object. It cannot change.
uid string -- Identity of this object in time and space, given by the server.
resourceVersion string -- Version of the object's last change; sent with a change, it must still
    be the last one.
generation int64 -- Counts the changes of the specification.
creationTimestamp time -- When the object was made.
deletionTimestamp time -- When its deletion was asked for.
deletionGracePeriodSeconds int64 -- Seconds that it has for its end.
labels map<string> -- Words to select objects by.
annotations map<string> -- What tools keep with the object.
finalizers []string set patch=merge -- Those who must agree before the object goes.
ownerReferences []OwnerReference key=uid patch=merge -- Objects that this one belongs to; it
    goes when they all have gone.
managedFields []ManagedFieldsEntry -- Who owns which fields.
selfLink string ignored=(the API has no self links) -- Not used.

= OwnerReference -- An object that another one belongs to.
apiVersion string! -- Group and version of the owner.
kind string! -- Kind of the owner.
name string! -- Name of the owner.
uid string! -- Identity of the owner.
controller bool -- Whether this owner manages the object.
blockOwnerDeletion bool -- Whether the owner waits for this object when deleted in the foreground.

= ManagedFieldsEntry -- The fields of one manager.
manager string -- Name of the manager.
operation string -- Apply or Update.
apiVersion string -- Version of the object that the fields are named in.
time time -- When the manager last changed something.
fieldsType string -- FieldsV1.
fieldsV1 object -- The fields, as a tree.
subresource string -- Subresource by which they were set.

= ListMeta -- What a list carries.
resourceVersion string -- Version of the list, to watch from.
continue string -- Token for the next page.
remainingItemCount int64 -- Items behind this page.

= ObjectReference -- Points to an object.
apiVersion string -- Group and version.
kind string -- Kind.
namespace string -- Namespace.
name string -- Name.
uid string -- Identity.
resourceVersion string -- Version.
fieldPath string -- A part of the object.

= LocalObjectReference -- Points to an object of the same namespace.
name string -- Name.

= Namespace -- A room of names. What is in it goes with it.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec NamespaceSpec -- What the namespace should be.
status NamespaceStatus -- What it is.

= NamespaceSpec -- What a namespace should be.
finalizers []string ignored=(contents are always deleted with their namespace) -- Not used.

= NamespaceStatus -- What a namespace is.
phase string enum=Active|Terminating -- Active, or Terminating while its contents go.
conditions []Condition key=type patch=merge -- Conditions.

= Secret -- Small secret values, such as keys.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
type string default="Opaque" -- What the secret is for.
data map<bytes> -- Values in base64.
stringData map<string> -- Values as plain text; they are moved to data.
immutable bool -- Whether data may change.

= ConfigMap -- Configuration values.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
data map<string> -- Values as text.
binaryData map<bytes> -- Values in base64.
immutable bool -- Whether data may change.

= ServiceAccount -- Names the secrets that a service may read from storage with.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
secrets []ObjectReference key=name patch=merge -- Secrets with credentials for storage.
imagePullSecrets []LocalObjectReference ignored=(nothing is pulled as an image) -- Not used.
automountServiceAccountToken bool ignored=(replicas get no token of the control plane) -- Not
    used.

= Event -- Something that happened to an object.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
involvedObject ObjectReference! -- What it happened to.
reason string -- Why, in one word.
message string -- What happened.
source EventSource -- Who tells it.
firstTimestamp time -- When it was first seen.
lastTimestamp time -- When it was last seen.
count int32 -- How often it was seen.
type string -- Normal or Warning.
eventTime time -- When it was first seen, to the microsecond.
series object -- Repetitions, as newer clients tell them.
action string -- What was done.
related ObjectReference -- A second object.
reportingComponent string -- Who tells it.
reportingInstance string -- Which one of them.

= EventSource -- Who tells an event.
component string -- Its name.
host string -- Its machine.

= Condition -- One thing that holds, does not hold, or is unknown.
type string! -- What it is about.
status string! enum=True|False|Unknown -- Whether it holds.
reason string -- Why, in one word.
message string -- Why, in words.
severity string -- Empty for what counts towards readiness, else Info.
lastTransitionTime time -- When it last changed.
observedGeneration int64 -- Generation of the specification that it was seen with.

= Scale -- How many replicas there should be.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ScaleSpec -- What should be.
status ScaleStatus -- What is.

= ScaleSpec -- How many replicas there should be.
replicas int32 min=0 -- Number of replicas.

= ScaleStatus -- How many replicas there are.
replicas int32 -- Number of replicas.
selector string -- Labels of the replicas.
)";
}

}  // namespace sluice::control
