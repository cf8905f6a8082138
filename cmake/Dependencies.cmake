# Everything comes from the system's packages; nothing is fetched.
find_package(Threads REQUIRED)
find_package(absl REQUIRED)
find_package(nlohmann_json 3.9 REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)

# Debian's FlatBuffers package has CMake files in some releases and only headers and flatc in others.
find_path(FLATBUFFERS_INCLUDE_DIR flatbuffers/flatbuffers.h REQUIRED)
find_program(FLATC flatc REQUIRED)
add_library(rill_flatbuffers INTERFACE)
target_include_directories(rill_flatbuffers SYSTEM INTERFACE ${FLATBUFFERS_INCLUDE_DIR} ${PROJECT_BINARY_DIR}/generated)

# rill_flatbuffer(path/to/x.fbs): generates <build>/generated/path/to/x_generated.h and appends it to RILL_GENERATED.
function(rill_flatbuffer SCHEMA)
  get_filename_component(dir ${SCHEMA} DIRECTORY)
  get_filename_component(stem ${SCHEMA} NAME_WE)
  set(out_dir ${PROJECT_BINARY_DIR}/generated/${dir})
  set(out ${out_dir}/${stem}_generated.h)
  add_custom_command(OUTPUT ${out}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${out_dir}
    COMMAND ${FLATC} --cpp --scoped-enums -o ${out_dir} ${PROJECT_SOURCE_DIR}/${SCHEMA}
    DEPENDS ${PROJECT_SOURCE_DIR}/${SCHEMA} VERBATIM)
  set(RILL_GENERATED ${RILL_GENERATED} ${out} PARENT_SCOPE)
endfunction()

# CLI11 is one header; only command line tools include it (docs/adr/0002-cli11.md).
if(RILL_BUILD_TOOLS)
  find_path(CLI11_INCLUDE_DIR CLI/CLI.hpp REQUIRED)
  add_library(rill_cli11 INTERFACE)
  target_include_directories(rill_cli11 SYSTEM INTERFACE ${CLI11_INCLUDE_DIR})
endif()
