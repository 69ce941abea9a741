# Toolchain of the preset "neon": 64-bit ARM by clang with Debian's cross libraries
# (libstdc++-12-dev-arm64-cross, binutils-aarch64-linux-gnu). See docs/decisions.

set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER clang++-19)
set(CMAKE_CXX_COMPILER_TARGET aarch64-linux-gnu)
set(CMAKE_AR aarch64-linux-gnu-ar CACHE FILEPATH "")
set(CMAKE_RANLIB aarch64-linux-gnu-ranlib CACHE FILEPATH "")
set(CMAKE_EXE_LINKER_FLAGS_INIT -fuse-ld=lld)
