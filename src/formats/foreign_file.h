// Files that are no model of ours: recognised by content, refused with what to do instead.
#pragma once

#include <cstddef>
#include <span>

#include "base/status.h"

namespace sluice::formats {

// Python pickles run code when they are loaded: bare ones, and PyTorch's zip archives of them.
bool looks_like_pickle(std::span<const std::byte> bytes);

Status refuse_pickle();

// Why a file that is no GGUF cannot be opened.
Status refuse_foreign(std::span<const std::byte> bytes);

}  // namespace sluice::formats
