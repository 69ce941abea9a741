// Which names may become paths inside the cache. Pure functions on foreign text.
#pragma once

#include <string>
#include <string_view>

#include "base/status.h"

namespace sluice::registry {

// A file's place inside a model: segments joined by '/', each of letters, digits and
// "._-+ ,()[]=@~", none empty or beginning with a dot. So no name is absolute, climbs with "..", is
// hidden, or becomes another one when it is percent-decoded once more.
Outcome check_file_path(std::string_view path);

// What a cached model is called: "story", "owner/model:revision/file.gguf". Letters, digits and
// "._-:" in segments joined by '/'; no segment begins with '.', '-' or ':'.
Outcome check_model_name(std::string_view name);

// Text of a foreign name for a message: control characters replaced, long ones cut.
std::string shown(std::string_view name);

}  // namespace sluice::registry
