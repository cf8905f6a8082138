#!/usr/bin/env bash
# Builds everything and runs the tests. The last line says how many there were and how they went.
#
#   bash tests/run.sh                      the whole suite, Release
#   bash tests/run.sh --fast               without the tests labelled "full"
#   bash tests/run.sh --sanitize           under ASan and UBSan, then those with threads under TSan; never "full" or "abi" ones
#   bash tests/run.sh --sanitize=address   only the first of the two; --sanitize=thread only the second
#   bash tests/run.sh ... -- ARGS          more arguments for ctest, e.g. -- -R kda
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
jobs=$(nproc)
threaded='thread|determinism|concurren|cancel|busy|misuse' # by name, beside the label "threads"

modes=()
skip_full=no
while [ $# -gt 0 ]; do
  case $1 in
    --fast) skip_full=yes ;;
    --sanitize) modes+=(address thread) ;;
    --sanitize=address) modes+=(address) ;;
    --sanitize=thread) modes+=(thread) ;;
    --) shift && break ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
    *) echo "tests/run.sh: unknown option $1; see --help" >&2 && exit 1 ;;
  esac
  shift
done
if [ ${#modes[@]} -eq 0 ]; then modes=(release); fi

# shellcheck source=../.ci/packages.sh
source "$root/.ci/packages.sh"
need_build_packages
need_test_packages
install_missing

configure() { # MODE BUILD
  local flags=(-DCMAKE_BUILD_TYPE=Release)
  if [ "$1" != release ]; then
    flags=(-DCMAKE_BUILD_TYPE=Sanitize -DCMAKE_CXX_FLAGS_SANITIZE=-O1 -DCMAKE_C_FLAGS_SANITIZE=-O1)
    if [ "$1" = address ]; then flags+=(-DRILL_SANITIZE=address,undefined); else flags+=(-DRILL_SANITIZE=thread); fi
  fi
  cmake -S "$root" -B "$2" -G Ninja "${flags[@]}" -DRILL_BUILD_TESTS=ON -DRILL_BUILD_TOOLS=ON -DRILL_CUDA=OFF
}

# ctest's names of the tests with threads, one a line: "kernels/thread_pool_test".
threaded_tests() { # BUILD
  { ctest --test-dir "$1" -N -R "$threaded" && ctest --test-dir "$1" -N -L '^threads$'; } |
    sed -n 's/^ *Test *#[0-9]*: //p' | sed 's/ (Disabled)$//' | sort -u
}

# One line of numbers from ctest's log; the cases GoogleTest skipped are named, since a skipped test proves nothing.
report() { # MODE BUILD SECONDS RESULT
  local log=$2/Testing/Temporary/LastTest.log programs cases skipped
  programs=$(grep -c '^"\?Test time elapsed\|^Test time =' "$log" || true)
  cases=$(sed -n 's/^\[==========\] \([0-9]*\) tests\{0,1\} from .* ran.*/\1/p' "$log" | awk '{n += $1} END {print n + 0}')
  skipped=$(grep -c '^\[  SKIPPED \] .*ms)$' "$log" || true)
  if [ "$skipped" -gt 0 ]; then
    echo "skipped:"
    grep '^\[  SKIPPED \] .*ms)$' "$log" | sort | uniq -c
  fi
  if [ "$cases" -eq 0 ]; then
    echo "tests/run.sh: FAILED ($1): no test ran"
    return 1
  fi
  echo "tests/run.sh: $4 ($1): $programs programs, $cases cases, $skipped skipped, $3 s"
}

run() { # MODE CTEST_ARGS...
  local mode=$1 build=$root/build/test-$1 start=$SECONDS result=passed
  shift
  configure "$mode" "$build" || return 1  # called where set -e does not reach
  local select=() targets=(all)
  if [ "$mode" = thread ]; then
    local names
    names=$(threaded_tests "$build")
    select=(-R "^($(paste -sd'|' <<<"$names"))\$")
    mapfile -t targets < <(tr / _ <<<"$names")
  fi
  if [ "$mode" != release ]; then
    select+=(-LE '^(full|abi)$') # a sanitized library exports and links other things than the one that ships
  elif [ "$skip_full" = yes ]; then
    select+=(-LE '^full$')
  fi
  cmake --build "$build" -j "$jobs" --target "${targets[@]}" || return 1
  echo "built ($mode) in $((SECONDS - start)) s"
  start=$SECONDS
  TSAN_OPTIONS=halt_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$jobs" "${select[@]}" "$@" || result=FAILED
  report "$mode" "$build" $((SECONDS - start)) "$result" || result=FAILED
  [ "$result" = passed ]
}

failed=0
for mode in "${modes[@]}"; do run "$mode" "$@" || failed=1; done
exit $failed
