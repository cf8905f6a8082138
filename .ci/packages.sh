# Sourced by the scripts that build: installs Debian packages that are missing, and only those.
#
#   need_command NAME PACKAGE   the program may also come from elsewhere
#   need_package PACKAGE        libraries
#   install_missing             asks apt for what was not found; needs root or sudo only then

rill_missing=()

need_command() {
  command -v "$1" >/dev/null || rill_missing+=("$2")
}

need_package() {
  command -v dpkg-query >/dev/null || return 0 # no Debian: CMake names what it does not find
  dpkg-query -W -f='${Status}' "$1" 2>/dev/null | grep -q 'ok installed' || rill_missing+=("$1")
}

install_missing() {
  if [ ${#rill_missing[@]} -eq 0 ]; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "missing: ${rill_missing[*]} (Debian's names); there is no apt-get here, install them and try again" >&2
    return 1
  fi
  echo "installing ${rill_missing[*]}" >&2
  local as_root=()
  if [ "$(id -u)" -ne 0 ]; then as_root=(sudo); fi
  "${as_root[@]}" apt-get update -q >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
    "${rill_missing[@]}" >&2
}

# What the library and its tools are built from.
need_build_packages() {
  need_command g++ g++
  need_command cmake cmake
  need_command ninja ninja-build
  need_command pkg-config pkg-config
  need_command flatc flatbuffers-compiler
  need_package libabsl-dev
  need_package libflatbuffers-dev
  need_package nlohmann-json3-dev
  need_package libpcre2-dev
  need_package libcli11-dev
}

need_test_packages() {
  need_command ccache ccache
  need_package libgtest-dev
  need_package libgmock-dev
  need_package libbenchmark-dev
}
