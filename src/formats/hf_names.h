// Hugging Face tensor names as canonical ones.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "formats/architecture.h"

namespace sluice::formats {

struct CanonicalName {
  std::string name;
  std::optional<int> expert;  // this tensor is that expert's part of the stack `name`
};

// Nothing for tensors that a text model does not use (a vision part, stored rope frequencies). A
// name that is not known comes back as it is, for check_tensors() to refuse.
std::optional<CanonicalName> canonical_name(const Architecture& architecture,
                                            std::string_view hf_name);

}  // namespace sluice::formats
