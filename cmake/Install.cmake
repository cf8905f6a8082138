# What an installation holds: librill.so, librill.a, the headers, a CMake package and a pkg-config file.
include(CMakePackageConfigHelpers)
set(rill_package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/rill)

install(TARGETS rill rill_static EXPORT rillTargets
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(FILES ${PROJECT_SOURCE_DIR}/c_api/include/rill/rill.h
  ${PROJECT_SOURCE_DIR}/bindings/cpp/include/rill/rill.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/rill)
install(EXPORT rillTargets NAMESPACE rill:: DESTINATION ${rill_package_dir})

configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/rillConfig.cmake.in ${PROJECT_BINARY_DIR}/rillConfig.cmake
  INSTALL_DESTINATION ${rill_package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/rillConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/rillConfig.cmake ${PROJECT_BINARY_DIR}/rillConfigVersion.cmake
  DESTINATION ${rill_package_dir})

# A static link needs Abseil's archives, which know their own order through their pkg-config files.
set(RILL_PC_REQUIRES_PRIVATE
  "absl_status absl_statusor absl_strings absl_span absl_synchronization absl_flat_hash_map absl_flat_hash_set libpcre2-8")
set(RILL_PC_LIBS_PRIVATE "-lstdc++ -lm -lpthread")
if(RILL_HAVE_CUDA)
  string(APPEND RILL_PC_LIBS_PRIVATE " -L${CUDAToolkit_LIBRARY_DIR} -lcudart_static -ldl -lrt")
endif()
# The prefix is found from where the file lies, so that an installation can be moved.
file(RELATIVE_PATH RILL_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
configure_file(${PROJECT_SOURCE_DIR}/cmake/rill.pc.in ${PROJECT_BINARY_DIR}/rill.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/rill.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
