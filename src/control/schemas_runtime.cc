#include "control/schema_texts.h"

namespace sluice::control {

std::string_view runtime_schemas() {
  return R"(
= ServingRuntime -- A program that serves models, for the InferenceServices of its namespace.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ServingRuntimeSpec! -- The program.
status object -- Not written.

= ClusterServingRuntime -- A program that serves models, for every namespace.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ServingRuntimeSpec! -- The program.
status object -- Not written.

= ServingRuntimeSpec -- A program that serves models.
supportedModelFormats []SupportedModelFormat -- Formats that it serves.
protocolVersions []string -- Protocols that it speaks; none means any.
containers []Container! key=name patch=merge -- The program: the only one, or the one named
    kserve-container.
multiModel bool -- Whether one process serves several models.
disabled bool -- Whether it is left out.
labels map<string> -- Labels of its replicas.
annotations map<string> -- Annotations of its replicas.
include PodFields -- .
workerSpec object refused=(a replica runs on one machine) -- Not supported.
grpcEndpoint string ignored=(only ModelMesh uses it) -- Not used.
grpcDataEndpoint string ignored=(only ModelMesh uses it) -- Not used.
httpDataEndpoint string ignored=(only ModelMesh uses it) -- Not used.
builtInAdapter object ignored=(only ModelMesh uses it) -- Not used.
storageHelper object ignored=(only ModelMesh uses it) -- Not used.
replicas int32 ignored=(only ModelMesh uses it; the InferenceService says how many) -- Not used.

= SupportedModelFormat -- A format that a runtime serves.
name string! -- Name of the format.
version string -- Version; none means any.
autoSelect bool -- Whether services that name no runtime may get this one.
priority int32 min=1 -- Higher goes first.

= LLMInferenceService -- Not served: use an InferenceService.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec object -- Not served; a write is answered with the InferenceService that does the same.
status object -- Not written.

= InferenceGraph -- Services put together: in sequence, in parallel, by condition or by weight.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec InferenceGraphSpec! -- The graph.
status InferenceGraphStatus -- State; written by the control plane.

= InferenceGraphSpec -- A graph of services.
nodes map<InferenceRouter>! -- Nodes by name; it begins at the one named root.
timeout int64 min=1 -- Seconds that a request may take.
routerTimeouts object ignored=(timeout and the steps' own bound a request) -- Not used.
minReplicas int32 ignored=(graphs run in the gateway) -- Not used.
maxReplicas int32 ignored=(graphs run in the gateway) -- Not used.
scaleTarget int32 ignored=(graphs run in the gateway) -- Not used.
scaleMetric string ignored=(graphs run in the gateway) -- Not used.
resources Resources ignored=(graphs run in the gateway) -- Not used.
include PodFields -- .

= InferenceRouter -- A node of a graph.
routerType string! enum=Sequence|Splitter|Ensemble|Switch -- What it does with its steps.
steps []InferenceStep -- Its steps.

= InferenceStep -- A step: a service, a URL or another node.
name string -- Name, unique in its node.
serviceName string -- An InferenceService of this namespace.
serviceUrl string -- Any service by its URL.
nodeName string -- Another node of this graph.
data string -- $response for the answer of the step before; else the node's own input.
condition string -- Path into the JSON (GJSON) that must match.
weight int64 min=0 max=100 -- Part of a Splitter's requests.
dependency string enum=Soft|Hard -- Whether its failure ends the node.
mapPredictionsToInstances bool -- Turns predictions of the step before into instances.
sluice StepPolicy -- What KServe has no field for.

= StepPolicy -- What a step is sent, and its bounds.
body string -- Template (Jinja) of the JSON that is sent; see docs/gateway.md.
timeoutSeconds number min=0.001 -- How long one attempt may take.
retries int32 min=0 max=10 -- Further attempts.
fallbackNode string -- Node that answers when all attempts failed.

= InferenceGraphStatus -- State of a graph.
observedGeneration int64 -- Generation of the specification that was seen last.
conditions []Condition key=type -- Ready and others.
url string -- Where clients reach it.
deploymentMode string -- How it is deployed.
)";
}

}  // namespace sluice::control
