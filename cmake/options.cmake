# Compile options of every target, and the switches that the presets set.

set(SLUICE_SANITIZE "" CACHE STRING "Sanitizers, as -fsanitize= takes them")
option(SLUICE_FUZZ "Build the fuzz targets against libFuzzer" OFF)
option(SLUICE_LINT "Run clang-tidy beside the compiler" OFF)
option(SLUICE_COVERAGE "Instrument for source-based coverage" OFF)

set(CMAKE_CXX_STANDARD 23)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_CXX_SCAN_FOR_MODULES OFF)
set(CMAKE_CXX_FLAGS_RELEASE "-O3 -DNDEBUG")
set(CMAKE_CXX_FLAGS_DEBUG "-O1 -g1 -fno-omit-frame-pointer")

# Results must not depend on what the compiler fuses: contraction is written out where it is wanted.
add_compile_options(-fPIC -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Werror -ffp-contract=off)
add_link_options(-fuse-ld=lld)

if(SLUICE_SANITIZE)
  add_compile_options(-fsanitize=${SLUICE_SANITIZE} -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${SLUICE_SANITIZE})
endif()
if(SLUICE_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()
if(SLUICE_COVERAGE)
  add_compile_options(-fprofile-instr-generate -fcoverage-mapping)
  add_link_options(-fprofile-instr-generate)
endif()
if(SLUICE_LINT)
  set(CMAKE_CXX_CLANG_TIDY clang-tidy-19 --quiet)
endif()

find_program(SLUICE_CCACHE ccache)
if(SLUICE_CCACHE AND NOT SLUICE_LINT)
  set(CMAKE_CXX_COMPILER_LAUNCHER
      ${CMAKE_COMMAND} -E env CCACHE_BASEDIR=${CMAKE_SOURCE_DIR} CCACHE_NOHASHDIR=1
      CCACHE_SLOPPINESS=time_macros,pch_defines CCACHE_PCH_EXTSUM=1 ${SLUICE_CCACHE})
endif()
