// What commands are told to act on: "isvc", "isvc/llama", "isvc llama other", "isvc,graphs", "all".
//
// Pure functions over the table of kinds (control/resource_types.h).
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/status.h"
#include "control/resource_types.h"

namespace sluice::cli {

// One kind, and one of its objects unless `name` is empty.
struct Target {
  const control::ResourceType* type = nullptr;
  std::string name;
};

// A kind by its plural, singular, short or kind name, any letter case, with ".GROUP" or
// ".VERSION.GROUP" behind it or not. Fails with what there is.
Result<const control::ResourceType*> find_type(std::string_view word);

// Of a category ("all", "kserve", "sluice"): several. Else the kinds of a comma-separated list.
Result<std::vector<const control::ResourceType*>> find_types(std::string_view words);

// TYPE[,TYPE] [NAME…], or TYPE/NAME…
Result<std::vector<Target>> parse_targets(const std::vector<std::string>& words);

// "inferenceservice.serving.kserve.io/llama", as kubectl calls it.
std::string shown_name(const control::ResourceType& type, std::string_view name);

}  // namespace sluice::cli
