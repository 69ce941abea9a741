#include "control/schema_texts.h"

namespace sluice::control {

std::string_view sluice_schemas() {
  return R"(
= Provider -- A server outside of this machine's control, such as a commercial API.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ProviderSpec! -- The server.
status ProviderStatus -- State; written by the control plane.

= ProviderSpec -- A server outside of this machine's control.
url string! -- https://host[:port][/path], or http for one in the own network.
protocol string enum=openai|anthropic default="openai" -- Protocol that it speaks.
apiKey SecretKeyReference -- Key to send to it.
models []ProviderModel key=name -- Models that it serves, and what they are called here.
headers []ProviderHeader key=name -- Headers to send with each request, instead of the client's of
    these names.
maxOutstanding int32 min=0 -- Requests under way at a time; 0 is no limit.
timeoutSeconds number min=0.1 -- How long a request may take.
weight number min=0 -- Part of the traffic beside others that serve the same model.

= ProviderModel -- A model of a provider.
name string! -- What clients ask for.
remoteName string -- What the provider calls it.

= ProviderHeader -- A header of the requests to a provider: a value or a secret.
name string! -- Name.
value string -- What it says.
secret SecretKeyReference -- The secret that it says.

= SecretKeyReference -- A key of a Secret of the same namespace.
secretName string! -- Name of the Secret.
key string! -- The key in its data.

= ProviderStatus -- State of a provider.
observedGeneration int64 -- Generation of the specification that was seen last.
conditions []Condition key=type -- Ready and others.

= Tenant -- Who uses the gateway: models, limits, priority.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec TenantSpec! -- What the tenant may do.
status TenantStatus -- State; written by the control plane.

= TenantSpec -- What a tenant may do.
models []string set -- Models, or prefixes that end with *; none means all.
routes []string set -- Routes; none means all.
limits UsageLimits -- What it may use.
priority int32 min=-100 max=100 -- Higher goes first.
weight number min=0.001 max=1000 -- Fair share among tenants of one priority.

= UsageLimits -- What may be used; 0 is no limit.
requestsPerMinute int64 min=0 -- Requests in a minute.
tokensPerMinute int64 min=0 -- Tokens in a minute, prompt and completion together.
tokensPerDay int64 min=0 -- Tokens in a UTC day.
concurrency int64 min=0 -- Requests under way.
moneyPerDay number min=0 -- Cost in a UTC day.
moneyPerMonth number min=0 -- Cost in a UTC month.

= TenantStatus -- State of a tenant.
observedGeneration int64 -- Generation of the specification that was seen last.
conditions []Condition key=type -- Ready and others.
keys int32 -- Keys that it has.

= ApiKey -- A key of a tenant. The key itself is not kept, only its digest.
apiVersion string -- Version of the schema.
kind string -- Kind of the object.
metadata ObjectMeta -- Standard metadata.
spec ApiKeySpec! -- The key.
status ApiKeyStatus -- State; written by the control plane.

= ApiKeySpec -- A key of a tenant.
tenant string! -- Tenant of the same namespace that it belongs to.
sha256 string -- SHA-256 of the key in 64 hex digits: printf %s KEY | sha256sum.
secret SecretKeyReference -- Secret that holds the key, instead of the digest.
models []string set -- Models; none means the tenant's.
routes []string set -- Routes; none means the tenant's.
expires time -- When it ends.
admin bool -- Whether it may read /metrics and /usage.
limits UsageLimits -- What this key may use, besides the tenant's limits.

= ApiKeyStatus -- State of a key.
observedGeneration int64 -- Generation of the specification that was seen last.
conditions []Condition key=type -- Ready and others.
)";
}

}  // namespace sluice::control
