// completion::Sampling on the internal wire; its fields stand in api/internal_request.h.
// Pure functions, any thread.
#pragma once

#include <string_view>

#include "api/internal_wire.h"
#include "completion/request.h"

namespace sluice::api {

void write_sampling(WireWriter& out, const completion::Sampling& sampling);
Result<completion::Sampling> read_sampling(std::string_view bytes);

}  // namespace sluice::api
