#include "control/schema_texts.h"

namespace sluice::control {

std::string_view serving_schemas() {
  return R"(
= InferenceService -- A model that is served: deployed, scaled, healed and upgraded.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec InferenceServiceSpec! -- What should be served, and how.
status InferenceServiceStatus -- What is served; written by the control plane.

= InferenceServiceSpec -- What should be served, and how.
predictor PredictorSpec! -- The model and the server that runs it.
transformer TransformerSpec -- An HTTP service before and behind the predictor.
explainer ExplainerSpec -- What answers :explain.
canary []CanarySpec -- Other predictors that get a part of the traffic.
sluice ServicePolicy -- What KServe has no field for: rollout, scaling, waking.

= CanarySpec -- Another predictor with a part of the traffic.
name string -- Name of the branch; that of its predictor when absent.
predictor PredictorSpec! -- The predictor; its name is required.
trafficPercent int64! min=0 max=100 -- Part of the traffic; 0 is a dark launch.

= ComponentFields -- How a component is scaled, split and logged.
minReplicas int32 min=0 max=1000 -- At least so many replicas; 0 lets it scale to zero.
maxReplicas int32 min=0 max=1000 -- At most so many replicas; 0 is as many as fit.
scaleTarget int32 min=1 -- What one replica should carry, in units of scaleMetric.
scaleMetric string enum=cpu|memory|concurrency|rps -- What scaling looks at.
scaleMetricType string ignored=(scaleTarget is always what one replica should carry) -- Not used.
autoScaling object refused=(use scaleMetric and scaleTarget, or spec.sluice.scaling) -- Not
    supported.
containerConcurrency int64 min=0 -- Requests that one replica handles at a time; 0 is no limit.
timeout int64 min=1 -- Seconds that a request may take.
canaryTrafficPercent int64 min=0 max=100 -- Part of the traffic for the latest revision.
logger LoggerSpec -- Where requests and answers are logged.
batcher BatcherSpec -- How :predict requests are joined.
labels map<string> -- Labels of its replicas.
annotations map<string> -- Annotations of its replicas.
deploymentStrategy object ignored=(capacity is constant in an upgrade: see spec.sluice.rollout)
    -- Not used.

= LoggerSpec -- Where requests and answers are logged.
url string -- An HTTP sink of CloudEvents.
mode string enum=all|request|response -- What is logged.
metadataHeaders []string -- Request headers that are logged too.
metadataAnnotations []string -- Annotations that are logged too.
storage object refused=(log to a url) -- Not supported.

= BatcherSpec -- How :predict requests are joined.
maxBatchSize int32 min=1 max=1024 -- Most instances in one request (32).
maxLatency int32 min=0 max=60000 -- Milliseconds that a request waits for others (5000).
timeout int32 min=1 max=3600 -- Seconds that a joined request may take (60).

= PredictorSpec -- The model and the server that runs it.
name string -- Name of this predictor, for the canary that is to take its place.
model ModelSpec -- A model, run by a ServingRuntime.
containers []Container key=name patch=merge -- An own server instead of a model.
workerSpec object refused=(a replica runs on one machine) -- Not supported.
include ComponentFields -- .
include PodFields -- .
sklearn object refused=(use model with modelFormat.name: sklearn and a ServingRuntime for it) --
    Old form.
xgboost object refused=(use model with modelFormat.name: xgboost and a ServingRuntime for it) --
    Old form.
tensorflow object refused=(use model with modelFormat.name: tensorflow and a ServingRuntime for
    it) -- Old form.
pytorch object refused=(use model with modelFormat.name: pytorch and a ServingRuntime for it) --
    Old form.
triton object refused=(use model with modelFormat.name: triton and a ServingRuntime for it) --
    Old form.
onnx object refused=(use model with modelFormat.name: onnx and a ServingRuntime for it) -- Old
    form.
huggingface object refused=(use model with modelFormat.name: huggingface) -- Old form.
pmml object refused=(use model with modelFormat.name: pmml and a ServingRuntime for it) -- Old
    form.
lightgbm object refused=(use model with modelFormat.name: lightgbm and a ServingRuntime for it)
    -- Old form.
paddle object refused=(use model with modelFormat.name: paddle and a ServingRuntime for it) --
    Old form.

= ModelSpec -- A model, run by a ServingRuntime.
modelFormat ModelFormat! -- Format of the model; chooses the runtime.
storageUri string -- Where the model lies: file, pvc, https or hf.
storageUris []object refused=(one storageUri; adapters come later) -- Not supported.
storage object refused=(use storageUri) -- Not supported.
runtime string -- ServingRuntime or ClusterServingRuntime by name; else one is chosen.
runtimeVersion string ignored=(a runtime is a program of this machine, its version is its
    command) -- Not used.
protocolVersion string enum=v1|v2|grpc-v1|grpc-v2 -- Protocol that the runtime must speak.
include Container -- .

= ModelFormat -- Format of a model.
name string! -- Name, such as gguf or huggingface.
version string -- Version.

= TransformerSpec -- An HTTP service before and behind the predictor.
containers []Container key=name patch=merge -- Its server: takes the clients' requests, and asks the
    predictor at its --predictor_host.
sluice TransformerPolicy -- A transformer without a server.
include ComponentFields -- .
include PodFields -- .

= TransformerPolicy -- Templates over JSON instead of a server.
requestTemplate string -- Jinja template that makes the predictor's request of the client's.
responseTemplate string -- Jinja template that makes the client's answer of the predictor's.
url string -- An HTTP service that runs already: asked by POST to the URL with :preprocess and
    :postprocess behind.

= ExplainerSpec -- What answers :explain.
containers []Container key=name patch=merge -- Its server, asked by POST /v1/models/NAME:explain;
    asks the predictor at its --predictor_host.
art object refused=(leave it out: :explain attributes the answer to parts of the prompt) -- Not
    supported.
sluice ExplainerPolicy -- The explainer that is built in.
include ComponentFields -- .
include PodFields -- .

= ExplainerPolicy -- Attribution of the answer to parts of the prompt.
segments string enum=word|sentence|line -- What a part is.
maxSegments int32 min=2 max=200 -- Most parts.

= ServicePolicy -- What KServe has no field for.
rollout RolloutPolicy -- How a new revision takes over.
scaling ScalingPolicy -- How replicas are counted.
wake WakePolicy -- What requests to a service at zero do.
shareProcess bool -- One process with the others of the namespace that ask for it and whose
    processes differ in the model only; models are loaded on demand.

= RolloutPolicy -- How a new revision takes over.
strategy string enum=Progressive|BlueGreen|Manual|Recreate -- Step by step, all at once, by hand, or
    with a gap: the old revision ends first.
steps []RolloutStep -- Weights and pauses.
analysis RolloutAnalysis -- What must hold meanwhile.
autoRollback bool -- Whether a revision that fails goes (default: true).
progressDeadlineSeconds number min=1 -- How long it may wait for a start or for room (600).

= RolloutStep -- One step.
weight int32! min=0 max=100 -- Part of the traffic for the new revision.
pauseSeconds number min=0 -- How long it stays.

= RolloutAnalysis -- What must hold while a new revision takes over.
intervalSeconds number min=0.1 -- Between two looks.
failureLimit int32 min=1 -- Bad looks in a row that end it.
minRequests int32 min=0 -- Fewer requests in a look decide nothing.
maxErrorRate number min=0 max=1 -- Of requests.
maxTtftMs number min=0 -- Time to the first token, 95th percentile.
maxLatencyMs number min=0 -- Whole time, 95th percentile.
minTokensPerSecond number min=0 -- Of one stream, median.
maxRatio number min=1 -- Times the old revision's figure, for time and errors.
check RolloutCheck -- An external check of quality.

= RolloutCheck -- Asked at each look; anything but 200 counts as bad.
url string! -- Asked by POST with the names of service and revisions.
timeoutSeconds number min=0.1 -- How long it may take.

= ScalingPolicy -- How replicas are counted: Knative's windows on more signals.
metric string enum=concurrency|rps|queuedTokens|kvCache|ttft -- What is looked at.
target number min=0.001 -- What one replica should carry.
stableWindowSeconds number min=6 max=3600 -- Window of the average (60).
panicWindowPercent number min=1 max=100 -- Of the stable window (10).
panicThresholdPercent number min=110 max=1000 -- Of the target, to enter panic (200).
maxScaleUpRate number min=1.1 max=1000 -- Most growth in one step (1000).
maxScaleDownRate number min=1.1 max=1000 -- Most shrinking in one step (2).
scaleDownDelaySeconds number min=0 max=3600 -- Waited before shrinking (0).
scaleToZeroGraceSeconds number min=0 max=3600 -- Idle time before the last replica goes (30).
activationReplicas int32 min=1 -- Replicas when waking (1).
schedules []ScaleSchedule -- Least replicas by time of day.

= ScaleSchedule -- Least replicas by time of day.
days string -- Such as Mon-Fri; every day when absent.
from string! -- HH:MM, local time.
to string! -- HH:MM, local time.
minReplicas int32! min=0 -- Least replicas meanwhile.

= WakePolicy -- What requests to a service at zero do.
holdSeconds number min=0 max=600 -- How long they wait for a replica.
maxHeld int32 min=0 -- How many may wait.

= InferenceServiceStatus -- What is served.
observedGeneration int64 -- Generation of the specification that was seen last.
conditions []Condition key=type -- Ready, PredictorReady, IngressReady and others.
url string -- Where clients reach it.
address AddressStatus -- Where other services reach it.
components map<ComponentStatus> -- By component: predictor, transformer, explainer.
modelStatus ModelStatus -- State of the model.
canaryStatuses []object -- State of the canaries.
deploymentMode string -- How it is deployed.
servingRuntimeName string -- ServingRuntime that was chosen.
clusterServingRuntimeName string -- ClusterServingRuntime that was chosen.
sluice object -- What KServe has no field for: replicas, rollout, scaling.

= AddressStatus -- An address.
url string -- URL.

= ComponentStatus -- State of a component.
latestReadyRevision string -- Newest revision that is ready.
latestCreatedRevision string -- Newest revision.
previousRolledoutRevision string -- The one before the latest that took all traffic.
latestRolledoutRevision string -- The latest that took all traffic.
traffic []object -- Parts of the traffic by revision.
url string -- Where it is reached.
restUrl string -- Where it is reached by HTTP.
grpcUrl string -- Where it is reached by gRPC.
address AddressStatus -- Where other services reach it.
replicas int32 -- Replicas that run.
readyReplicas int32 -- Replicas that are ready.

= ModelStatus -- State of the model.
transitionStatus string -- UpToDate, InProgress, BlockedByFailedLoad or InvalidSpec.
states object -- States of the active and the target model.
lastFailureInfo object -- The last failure.
copies object -- Copies that failed, and all.
)";
}

}  // namespace sluice::control
