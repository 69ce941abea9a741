// Memory of this machine and of this process.
#pragma once

#include <cstdint>

namespace sluice {

// What new allocations may take: the kernel's MemAvailable, at most what the control group still
// allows.
int64_t available_memory_bytes();

// Resident set size of this process.
int64_t resident_memory_bytes();

}  // namespace sluice
