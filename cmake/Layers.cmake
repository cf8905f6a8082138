# rill_layer(NAME [SOURCES...] [DEPENDS targets...] [LIBRARIES targets...])
#
# Declares an object library rill_NAME. DEPENDS are the Rill layers below it: a layer that is not named cannot be linked,
# and tests/abi/layers_test.cc checks that it is not included either. LIBRARIES are outside packages.
function(rill_layer NAME)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPENDS;LIBRARIES" ${ARGN})
  add_library(rill_${NAME} OBJECT ${ARG_SOURCES})
  target_include_directories(rill_${NAME} PUBLIC ${PROJECT_SOURCE_DIR} ${PROJECT_BINARY_DIR}/generated)
  target_link_libraries(rill_${NAME} PRIVATE rill_warnings PUBLIC ${ARG_LIBRARIES})
  foreach(dep ${ARG_DEPENDS})
    target_link_libraries(rill_${NAME} PUBLIC rill_${dep})
  endforeach()
  set_property(GLOBAL APPEND PROPERTY RILL_LAYERS rill_${NAME})
  set_property(GLOBAL APPEND PROPERTY RILL_LIBRARIES ${ARG_LIBRARIES})
endfunction()

# rill_archive(NAME DEPENDS layers...): a static archive of layers and all below them, for tests and internal tools.
function(rill_archive NAME)
  cmake_parse_arguments(ARG "" "" "DEPENDS" ${ARGN})
  add_library(${NAME} STATIC)
  foreach(dep ${ARG_DEPENDS})
    target_sources(${NAME} PRIVATE $<TARGET_OBJECTS:rill_${dep}>)
    target_link_libraries(${NAME} PUBLIC rill_${dep})
  endforeach()
endfunction()
