// Manifests: the objects of YAML and JSON files, folders and standard input.
//
// Foreign text with limits; plain values.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/status.h"
#include "control/resource_types.h"

namespace sluice::cli {

struct Manifest {
  std::string place;  // "service.yaml, document 2"
  json::object object;
  const control::ResourceType* type = nullptr;
  std::string name = {};
  std::string ns = {};  // as written; may be empty
};

// The documents of one text; lists are taken apart. Each must name a kind that there is and a name.
Result<std::vector<Manifest>> read_manifests(std::string_view text, const std::string& file);

// Files, folders (their *.yaml, *.yml and *.json, by name; those below them with `recursive`) and
// "-". Fails on the first that cannot be read.
Result<std::vector<Manifest>> load_manifests(const std::vector<std::string>& files, bool recursive);

// Where it is to go: what it says, else `ns`. Fails when the two differ and `ns` was `demanded`.
Result<std::string> namespace_of(const Manifest& manifest, const std::string& ns, bool demanded);

}  // namespace sluice::cli
