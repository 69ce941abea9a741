// A thread's own working memory for kernels.
#pragma once

#include <cstddef>

namespace sluice::kernels {

// At least `floats` floats, 64-byte aligned, contents unspecified. Valid until the calling thread's
// next call: one op at a time uses it. Grows to the largest request and is freed with the thread.
float* thread_scratch(size_t floats);

// The same for what an op's tasks share, `bytes` long and the calling thread's: packed rows.
std::byte* shared_scratch(size_t bytes);

}  // namespace sluice::kernels
