# One folder under src/ = one library = one namespace. A room's CMakeLists.txt is one call:
#   room(text DEPS base LIBS PkgConfig::pcre2)
# It compiles src/<room>/*.cc into sluice_<room>, and src/<room>/*_test.cc into <room>_test.

set(SLUICE_ROOMS
    base telemetry net tensor kernels formats text model engine
    completion serving api rpc endpoint registry plan store gateway control
    process platform cli)

# Whose tests calculate: optimized, as the rooms are.
set(SLUICE_COMPUTING_ROOMS tensor kernels formats text model engine)

function(room name)
  cmake_parse_arguments(ROOM "" "" "DEPS;LIBS;TEST_LIBS" ${ARGN})
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cc)
  set(tests ${sources})
  list(FILTER tests INCLUDE REGEX "_test\\.cc$")
  list(FILTER sources EXCLUDE REGEX "(_test|/main)\\.cc$")
  if(SLUICE_LEFT_OUT)
    list(FILTER sources EXCLUDE REGEX ${SLUICE_LEFT_OUT})
  endif()

  if(NOT name STREQUAL "kernels")  # whose files have each their own instruction set
    precompile(common ${sources})
    if(name IN_LIST SLUICE_COMPUTING_ROOMS AND NOT SLUICE_SANITIZE)
      precompile(common ${tests})
    else()
      precompile(common_test ${tests})
    endif()
  endif()

  set(kind PUBLIC)
  if(sources)
    add_library(sluice_${name} STATIC ${sources})
  else()
    add_library(sluice_${name} INTERFACE)
    set(kind INTERFACE)
  endif()
  target_include_directories(sluice_${name} ${kind} ${CMAKE_SOURCE_DIR}/src)
  foreach(dep IN LISTS ROOM_DEPS)
    target_link_libraries(sluice_${name} ${kind} sluice_${dep})
  endforeach()
  target_link_libraries(sluice_${name} ${kind} ${ROOM_LIBS})

  if(tests)
    add_executable(${name}_test ${tests})
    target_link_libraries(${name}_test sluice_${name} ${ROOM_TEST_LIBS} GTest::gtest_main)
    target_compile_definitions(${name}_test PRIVATE SLUICE_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
    set_property(GLOBAL APPEND PROPERTY SLUICE_TESTS ${name}_test)
  endif()
endfunction()
