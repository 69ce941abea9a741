// What a request to a server of any make may cost at the most, told by its path and body.
#pragma once

#include "base/status.h"
#include "gateway/ledger.h"
#include "gateway/relay.h"

namespace sluice::gateway {

// Where tokens are limited, a body that names no maximum is given the route's default. Fails for
// requests of which nobody can say what they may cost.
Result<TokenUse> most_cost(RelayRequest& request);

}  // namespace sluice::gateway
