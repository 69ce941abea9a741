#include "control/schema_texts.h"

namespace sluice::control {

std::string_view pod_schemas() {
  return R"(
= EnvVar -- An environment variable.
name string! -- Name.
value string -- Value.
valueFrom EnvVarSource -- Where the value comes from.

= EnvVarSource -- Where a value comes from.
secretKeyRef KeySelector -- A key of a Secret of the same namespace.
configMapKeyRef KeySelector -- A key of a ConfigMap of the same namespace.
fieldRef object refused=(a replica is no pod: write the value itself) -- Not supported.
resourceFieldRef object refused=(a replica is no pod: write the value itself) -- Not supported.

= KeySelector -- A key of a Secret or ConfigMap.
name string! -- Name of the object.
key string! -- The key.
optional bool -- Whether it may be missing.

= EnvFromSource -- All keys of an object as variables.
prefix string -- Put in front of each name.
secretRef OptionalReference -- A Secret of the same namespace.
configMapRef OptionalReference -- A ConfigMap of the same namespace.

= OptionalReference -- An object that may be missing.
name string! -- Name.
optional bool -- Whether it may be missing.

= Resources -- What a replica may use.
limits map<quantity> -- At most this much: cpu, memory.
requests map<quantity> -- At least this much: cpu, memory; counted against the machine.
claims []object ignored=(devices are not claimed on one machine) -- Not used.

= Probe -- How the state of a replica is asked for.
httpGet HttpGetAction -- A GET that answers 200 to 399.
tcpSocket TcpSocketAction -- A port that accepts a connection.
exec ExecAction ignored=(only HTTP and TCP probes are made) -- A command that exits with 0.
grpc object ignored=(only HTTP and TCP probes are made) -- A gRPC health check.
initialDelaySeconds int32 min=0 -- Seconds before the first probe.
periodSeconds int32 min=1 -- Seconds between probes.
timeoutSeconds int32 min=1 -- Seconds that one may take.
successThreshold int32 min=1 -- Successes in a row that count as up.
failureThreshold int32 min=1 -- Failures in a row that count as down.
terminationGracePeriodSeconds int64 min=0 ignored=(a replica has its own) -- Seconds that a failed
    replica has to end.

= HttpGetAction -- A GET.
path string -- Its path.
port intstr! -- Port, or the name of one.
scheme string enum=HTTP|HTTPS -- HTTP or HTTPS.
host string ignored=(a replica is always probed on its own address) -- Not used.
httpHeaders []HttpHeader -- Headers to send.

= HttpHeader -- A header.
name string! -- Name.
value string! -- Value.

= TcpSocketAction -- A connection.
port intstr! -- Port, or the name of one.
host string ignored=(a replica is always probed on its own address) -- Not used.

= ExecAction -- A command.
command []string -- The command.

= ContainerPort -- A port that a replica listens on.
name string -- Name, such as http1 or h2c.
containerPort int32! min=1 max=65535 -- The port; the replica is told which one it really gets.
protocol string enum=TCP|UDP|SCTP -- TCP.
hostPort int32 ignored=(ports are given by the control plane) -- Not used.
hostIP string ignored=(ports are given by the control plane) -- Not used.

= Container -- A process of a replica.
name string -- Name, unique in the list.
image string ignored=(replicas are processes of this machine: the command is run, no image is
    pulled) -- Container image.
command []string -- Program to run and its first arguments. Programs off the allow-list need the
    role admin.
args []string -- Further arguments.
workingDir string -- Folder to run in.
env []EnvVar key=name patch=merge -- Environment.
envFrom []EnvFromSource -- Whole objects as environment.
resources Resources -- What it may use.
ports []ContainerPort -- Ports it listens on.
livenessProbe Probe -- Whether it must be restarted.
readinessProbe Probe -- Whether it takes requests.
startupProbe Probe -- Whether it has started.
imagePullPolicy string ignored=(no image is pulled) -- Not used.
securityContext object ignored=(replicas run as the user of the control plane) -- Not used.
volumeMounts []object ignored=(replicas see the machine's own file system) -- Not used.
volumeDevices []object ignored=(replicas see the machine's own file system) -- Not used.
lifecycle object ignored=(replicas are drained by SIGTERM) -- Not used.
terminationMessagePath string ignored=(logs are captured instead) -- Not used.
terminationMessagePolicy string ignored=(logs are captured instead) -- Not used.
restartPolicy string ignored=(replicas are always restarted with backoff) -- Not used.
resizePolicy []object ignored=(replicas are replaced, not resized) -- Not used.
stdin bool ignored=(replicas have no terminal) -- Not used.
stdinOnce bool ignored=(replicas have no terminal) -- Not used.
tty bool ignored=(replicas have no terminal) -- Not used.

= PodFields -- What Kubernetes would do with the pod of a component.
serviceAccountName string -- ServiceAccount whose secrets open the storage.
terminationGracePeriodSeconds int64 min=0 -- Seconds that a replica has to drain before it is
    killed.
nodeSelector map<string> ignored=(one machine has no nodes to choose from) -- Not used.
nodeName string ignored=(one machine has no nodes to choose from) -- Not used.
affinity object ignored=(one machine has no nodes to choose from) -- Not used.
tolerations []object ignored=(one machine has no nodes to choose from) -- Not used.
topologySpreadConstraints []object ignored=(one machine has no nodes to choose from) -- Not used.
schedulerName string ignored=(one machine has no nodes to choose from) -- Not used.
priorityClassName string ignored=(replicas have one priority) -- Not used.
runtimeClassName string ignored=(replicas are processes of this machine) -- Not used.
imagePullSecrets []LocalObjectReference ignored=(no image is pulled) -- Not used.
initContainers []object refused=(a replica is one process: do the preparation before the apply,
    or in the command) -- Not supported.
volumes []object ignored=(replicas see the machine's own file system) -- Not used.
securityContext object ignored=(replicas run as the user of the control plane) -- Not used.
automountServiceAccountToken bool ignored=(replicas get no token of the control plane) -- Not
    used.
restartPolicy string ignored=(replicas are always restarted with backoff) -- Not used.
hostNetwork bool ignored=(replicas always use the network of the machine) -- Not used.
hostIPC bool ignored=(replicas are processes of this machine) -- Not used.
hostPID bool ignored=(replicas are processes of this machine) -- Not used.
dnsPolicy string ignored=(replicas use the names of the machine) -- Not used.
enableServiceLinks bool ignored=(there are no services to link) -- Not used.
)";
}

}  // namespace sluice::control
