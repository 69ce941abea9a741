// The API's description: OpenAPI v3 (a document for each group version), v2 as JSON, and v2 as the
// protocol buffer that kubectl before 1.24 reads.
//
// Made once from the schemas and the table of resources; any thread.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::control {

// {"paths":{"api/v1":{"serverRelativeURL":…}}}
const std::string& openapi_v3_index();
// "api/v1" or "apis/GROUP/VERSION"; null when there is no such group version.
const std::string* openapi_v3(std::string_view group_version);

const json::object& openapi_v2();
const std::string& openapi_v2_text();
// openapi.v2.Document of gnostic.
const std::string& openapi_v2_protobuf();

// The encoder, apart for its test.
std::string encode_gnostic(const json::object& document);

}  // namespace sluice::control
