# What a cross build holds: the rooms that know of the processor, and what they are tested with.
# Libraries come from headers and sources that Debian has for every architecture.

set(SLUICE_ROOMS base tensor kernels)
# Needs OpenSSL; no test of these rooms reaches it.
set(SLUICE_LEFT_OUT "/base/secret\\.cc$")

find_package(Threads REQUIRED)

function(sluice_headers target package header)
  find_file(SLUICE_HEADER_${package} ${header} PATHS /usr/include NO_DEFAULT_PATH)
  if(NOT SLUICE_HEADER_${package})
    message(FATAL_ERROR "${header} was not found: apt-get install ${package}")
  endif()
  string(REPLACE "::" "_" name ${target})
  add_library(${name} INTERFACE)
  add_library(${target} ALIAS ${name})
  target_compile_definitions(${name} INTERFACE ${ARGN})
endfunction()

sluice_headers(fmt::fmt libfmt-dev fmt/format.h FMT_HEADER_ONLY)
sluice_headers(spdlog::spdlog libspdlog-dev spdlog/spdlog.h)
sluice_headers(PkgConfig::xxhash libxxhash-dev xxhash.h XXH_INLINE_ALL)

file(CONFIGURE OUTPUT boost_json.cc CONTENT "#include <boost/json/src.hpp>\n")
add_library(boost_json STATIC ${CMAKE_BINARY_DIR}/boost_json.cc)
target_compile_options(boost_json PRIVATE -w)
add_library(Boost::json ALIAS boost_json)

add_library(OpenSSL_Crypto INTERFACE)
add_library(OpenSSL::Crypto ALIAS OpenSSL_Crypto)

set(googletest /usr/src/googletest/googletest)
if(NOT EXISTS ${googletest}/src/gtest-all.cc)
  message(FATAL_ERROR "${googletest} was not found: apt-get install googletest")
endif()
add_library(gtest_main STATIC ${googletest}/src/gtest-all.cc ${googletest}/src/gtest_main.cc)
target_include_directories(gtest_main SYSTEM PUBLIC ${googletest}/include PRIVATE ${googletest})
target_compile_options(gtest_main PRIVATE -w)
target_link_libraries(gtest_main PUBLIC Threads::Threads)
add_library(GTest::gtest_main ALIAS gtest_main)
