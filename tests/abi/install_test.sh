#!/bin/sh
# install_test.sh SOURCE BUILD: installs into an empty folder, moves it, and builds and runs programs outside the tree
# with find_package (shared and static) and with pkg-config (shared and --static).
set -eu
source_dir=$1
build_dir=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "install_test: $*" >&2; exit 1; }

cmake --install "$build_dir" --prefix "$work/first" > "$work/install.log"
mv "$work/first" "$work/rill"   # an installation can be moved
prefix=$work/rill
for file in include/rill/rill.h include/rill/rill.hpp; do
  [ -f "$prefix/$file" ] || fail "no $file"
done
libdir=$(dirname "$(find "$prefix" -name librill.so)")

mkdir "$work/use"
cat > "$work/use/use.c" <<'C'
#include <rill/rill.h>
#include <stdio.h>
int main(void) {
  rill_model *model = NULL;
  rill_status status = rill_model_open("/nonexistent.rill", 17, NULL, &model);
  printf("%u %s\n", (unsigned)rill_version(), rill_status_name(status));
  return status == RILL_E_IO ? 0 : 1;
}
C
cat > "$work/use/use.cc" <<'C'
#include <rill/rill.hpp>
#include <cstdio>
int main() {
  try {
    rill::Model model("/nonexistent.rill");
  } catch (const rill::Error& error) {
    std::puts(error.what());
    return error.code() == RILL_E_IO ? 0 : 1;
  }
  return 1;
}
C
cat > "$work/use/CMakeLists.txt" <<'C'
cmake_minimum_required(VERSION 3.22)
project(use C CXX)
set(CMAKE_CXX_STANDARD 17)
find_package(rill 0.1 REQUIRED)
add_executable(use_c use.c)
target_link_libraries(use_c PRIVATE rill::rill)
add_executable(use_cc use.cc)
target_link_libraries(use_cc PRIVATE rill::rill)
add_executable(use_static use.c)
target_link_libraries(use_static PRIVATE rill::rill_static)
C
cmake -S "$work/use" -B "$work/use/build" -DCMAKE_PREFIX_PATH="$prefix" > "$work/use/cmake.log" 2>&1 ||
  { cat "$work/use/cmake.log"; fail "find_package(rill)"; }
cmake --build "$work/use/build" > "$work/use/build.log" 2>&1 || { cat "$work/use/build.log"; fail "build with CMake"; }
for program in use_c use_cc use_static; do
  "$work/use/build/$program" || fail "$program (find_package) failed"
done
if ldd "$work/use/build/use_static" | grep -q librill; then fail "use_static needs librill.so"; fi

export PKG_CONFIG_PATH="$libdir/pkgconfig"
[ "$(pkg-config --modversion rill)" = "$(sed -n 's/^project(rill VERSION \([0-9.]*\).*/\1/p' "$source_dir/CMakeLists.txt")" ] ||
  fail "pkg-config names another version"
cc ${RILL_TEST_FLAGS:-} "$work/use/use.c" -o "$work/pc_shared" $(pkg-config --cflags --libs rill)
LD_LIBRARY_PATH=$libdir "$work/pc_shared" || fail "pkg-config, shared"

# Without the shared library in the way, -lrill is the archive.
rm "$libdir"/librill.so*
cc ${RILL_TEST_FLAGS:-} "$work/use/use.c" -o "$work/pc_static" $(pkg-config --static --cflags --libs rill)
"$work/pc_static" || fail "pkg-config --static"
echo "install_test: find_package and pkg-config, shared and static: ok"
