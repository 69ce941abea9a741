# Headers that are compiled once: reading them anew in every file is more than half of a cold build.
#   precompile(KIND SOURCES…)    the sources begin with what cmake/KIND.h includes
# Where nothing slows them down otherwise, sources of the kind "common_test" are not optimized: they
# compile in less than half of the time.
# The file is named from the build folder, and ccache goes by a sum of the text, so that checkouts
# in different folders share one cache.

option(SLUICE_PRECOMPILED "Compile common headers once (without, a file that includes too little fails)" ON)

# Ninja alone compiles all files from the build folder.
if(NOT CMAKE_GENERATOR STREQUAL "Ninja" OR CMAKE_CROSSCOMPILING)
  set(SLUICE_PRECOMPILED OFF)
endif()

function(add_precompiled kind)
  string(TOUPPER "${CMAKE_BUILD_TYPE}" type)
  separate_arguments(flags UNIX_COMMAND
    "${CMAKE_CXX_FLAGS} ${CMAKE_CXX_FLAGS_${type}} ${CMAKE_CXX23_STANDARD_COMPILE_OPTION}")
  get_property(options DIRECTORY ${CMAKE_SOURCE_DIR} PROPERTY COMPILE_OPTIONS)
  foreach(library fmt::fmt Boost::json ${ARGN})
    get_target_property(own ${library} INTERFACE_COMPILE_OPTIONS)
    if(own)
      list(APPEND options ${own})
    endif()
    get_target_property(own ${library} INTERFACE_COMPILE_DEFINITIONS)
    if(own)
      list(TRANSFORM own PREPEND -D)
      list(APPEND options ${own})
    endif()
  endforeach()
  if(kind STREQUAL "common_test" AND NOT SLUICE_SANITIZE)
    list(APPEND options -O0)
  endif()
  set(header ${CMAKE_SOURCE_DIR}/cmake/${kind}.h)
  set(compile ${CMAKE_CXX_COMPILER} ${flags} ${options} -x c++-header ${header})
  add_custom_command(
    OUTPUT ${kind}.pch
    COMMAND ${compile} -E -P -o ${kind}.text
    COMMAND sha256sum < ${kind}.text > ${kind}.pch.sum
    COMMAND ${compile} -Xclang -fno-pch-timestamp -fpch-instantiate-templates
            -MD -MT ${kind}.pch -MF ${kind}.d -o ${kind}.pch
    MAIN_DEPENDENCY ${header}
    DEPFILE ${kind}.d
    WORKING_DIRECTORY ${CMAKE_BINARY_DIR}
    COMMENT "Precompiling ${kind}.h"
    VERBATIM)
  add_custom_target(${kind}_headers DEPENDS ${CMAKE_BINARY_DIR}/${kind}.pch)
endfunction()

function(precompile kind)
  if(SLUICE_PRECOMPILED)
    set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -include-pch ${kind}.pch)
    set_property(SOURCE ${ARGN} APPEND PROPERTY OBJECT_DEPENDS ${CMAKE_BINARY_DIR}/${kind}.pch)
    if(kind STREQUAL "common_test" AND NOT SLUICE_SANITIZE)
      set_property(SOURCE ${ARGN} APPEND PROPERTY COMPILE_OPTIONS -O0)
    endif()
  endif()
endfunction()

if(SLUICE_PRECOMPILED)
  add_precompiled(common)
  add_precompiled(common_test GTest::gtest)
endif()
