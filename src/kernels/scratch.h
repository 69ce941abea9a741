// A thread's own working memory for kernels.
#pragma once

#include <cstddef>

namespace sluice::kernels {

// At least `floats` floats, 64-byte aligned, contents unspecified. Valid until the calling thread's
// next call: one op at a time uses it. Grows to the largest request and is freed with the thread.
float* thread_scratch(size_t floats);

}  // namespace sluice::kernels
