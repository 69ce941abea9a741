// What sampling defaults from a model's own files must satisfy.
#pragma once

#include <cstddef>

#include "base/status.h"
#include "formats/model_source.h"

namespace sluice::formats {

inline constexpr size_t kMaxEosIds = 1024;

// Finite values in the ranges that requests are held to; ids inside the vocabulary.
Outcome check_generation(const GenerationDefaults& generation, int vocab);

}  // namespace sluice::formats
