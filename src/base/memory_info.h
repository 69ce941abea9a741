// Memory of this machine and of this process.
#pragma once

#include <cstdint>

namespace sluice {

// What new allocations may take: the kernel's MemAvailable, at most what the control group still
// allows.
int64_t available_memory_bytes();

// Resident set size of this process.
int64_t resident_memory_bytes();

// Lets go of pages of programs and libraries that the start has used and nothing has written to:
// what is needed again comes back from the page cache by itself. For processes that stay and are to
// be small. Any thread.
void give_back_start_pages();

}  // namespace sluice
