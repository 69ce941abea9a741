// What a model's dimensions may be at most: far above any model there is, low enough that products
// of them fit 64 bits and that a broken file cannot ask for absurd work.
#pragma once

#include <cstdint>

#include "base/limits.h"

namespace sluice::formats {

struct IntRange {
  int64_t low = 0;
  int64_t high = INT32_MAX;
};

inline constexpr IntRange kLayerRange{1, 4096};
inline constexpr IntRange kWidthRange{1, 1 << 20};
inline constexpr IntRange kHeadRange{1, 1 << 14};
inline constexpr IntRange kHeadDimRange{1, 1 << 13};
inline constexpr IntRange kFfnRange{1, 1 << 24};
inline constexpr IntRange kVocabRange{1, limits::kMaxVocabulary};
inline constexpr IntRange kContextRange{1, 1 << 27};
inline constexpr IntRange kExpertRange{0, 4096};
inline constexpr IntRange kWindowRange{0, INT32_MAX};
inline constexpr IntRange kTokenIdRange{0, limits::kMaxVocabulary - 1};

}  // namespace sluice::formats
