#include "kernels/scratch.h"

#include <cstdlib>
#include <memory>

#include "base/check.h"

namespace sluice::kernels {
namespace {

struct Free {
  void operator()(float* p) const { std::free(p); }
};

struct Buffer {
  std::unique_ptr<float, Free> data;
  size_t floats = 0;
};

void grow(Buffer& buffer, size_t floats) {
  if (floats <= buffer.floats) return;
  const size_t rounded = (floats + 1023) / 1024 * 1024;
  buffer.data.reset();
  buffer.data.reset(static_cast<float*>(std::aligned_alloc(64, rounded * sizeof(float))));
  SLUICE_CHECK(buffer.data != nullptr, "memory for a kernel's scratch");
  buffer.floats = rounded;
}

}  // namespace

float* thread_scratch(size_t floats) {
  thread_local Buffer buffer;
  grow(buffer, floats);
  return buffer.data.get();
}

std::byte* shared_scratch(size_t bytes) {
  thread_local Buffer buffer;
  grow(buffer, (bytes + sizeof(float) - 1) / sizeof(float));
  return reinterpret_cast<std::byte*>(buffer.data.get());
}

}  // namespace sluice::kernels
