// What the API serves, as clients discover it: /api, /apis, a page for each group version, and the
// aggregated form that newer clients ask for in one go. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace sluice::control {

json::object api_versions();                     // /api
json::object api_groups();                       // /apis
json::object api_group(std::string_view group);  // /apis/GROUP; empty when it is not there
// /api/v1, /apis/GROUP/VERSION; empty when it is not there.
json::object api_resources(std::string_view group, std::string_view version);

// apidiscovery.k8s.io APIGroupDiscoveryList: of the core group for /api, of the others for /apis.
json::object aggregated_discovery(bool core, std::string_view version);
// The version of the aggregated form that an Accept header asks for first ("v2", "v2beta1"), or
// empty.
std::string_view aggregated_version(std::string_view accept);

json::object version_page();  // /version

}  // namespace sluice::control
