#!/usr/bin/env bash
# What a GPU has to prove: the device tests on `cuda`, and compute-sanitizer over the kernel suites.
#
#   bash tests/cuda.sh                     builds build/cuda and runs every test program that has cases on cuda
#   bash tests/cuda.sh --sanitize          the kernel suites under memcheck, racecheck, initcheck and synccheck
#   bash tests/cuda.sh --sanitize=TOOL     one of them
#   --build DIR    a configured build tree with RILL_CUDA=ON instead of build/cuda
#   --no-build     takes the programs as they are
#   --only REGEX   programs whose name matches, e.g. --only 'mla|fused'
#   --jobs N       processes at once (8)
#   --seconds N    for one of them (600)
#
# Logs go to DIR/cuda-logs. Exit code 0: all clean; 1: a failure, a finding or a program out of time; without a GPU it says so and exits 0.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/cuda jobs=8 seconds=600 only=. compile=yes
tools=(none)
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) tools=(memcheck racecheck initcheck synccheck) ;;
    --sanitize=*) tools=("${1#*=}") ;;
    --no-build) compile=no ;;
    --build | --only | --jobs | --seconds)
      [ $# -gt 1 ] || { echo "tests/cuda.sh: $1 needs a value; see --help" >&2 && exit 2; }
      declare "${1#--}=$2" && shift ;;
    -h | --help) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" && exit ;;
    *) echo "tests/cuda.sh: unknown option $1; see --help" >&2 && exit 2 ;;
  esac
  shift
done

if ! nvidia-smi -L >/dev/null 2>&1; then
  echo "tests/cuda.sh: skipped, this machine has no NVIDIA GPU (nvidia-smi finds none)"
  exit 0
fi
sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1 || true)
if [ "${tools[0]}" != none ] && [ -z "$sanitizer" ]; then
  echo "tests/cuda.sh: compute-sanitizer is not installed (it comes with the CUDA Toolkit)" >&2
  exit 1
fi

if [ $compile = yes ]; then
  if [ "$build" = "$root/build/cuda" ]; then cmake -S "$root" --preset cuda -DRILL_BUILD_TESTS=ON; fi
  cmake --build "$build"
fi
logs=$build/cuda-logs
rm -rf "$logs" && mkdir -p "$logs"

# NAME TOOL PROGRAM: one process, its log, one line of summary.
one() {
  local log=$logs/$2.$1.log command=("$3" --gtest_color=no '--gtest_filter=*cuda*') begin=$SECONDS result=0
  if [ "$2" != none ]; then
    local options=(--tool "$2" --error-exitcode 9)
    # Some tests ask for more memory than there is: that call may fail.
    if [ "$2" = memcheck ]; then options+=(--report-api-errors no); fi
    command=("$sanitizer" "${options[@]}" "${command[@]}")
  fi
  timeout -k 10 "$seconds" "${command[@]}" >"$log" 2>&1 || result=$?
  local passed failed findings
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -1)
  failed=$(grep -c '^\[  FAILED  \] .*ms)$' "$log" || true)
  findings=$(sed -n 's/^=* *\(ERROR SUMMARY\|RACECHECK SUMMARY\): \([0-9]*\).*/\2/p' "$log" | tail -1)
  local verdict=clean
  if [ $result -ge 124 ]; then verdict="out of time at $(grep '^\[ RUN' "$log" | tail -1 | cut -c14-)"
  elif [ $result -ne 0 ]; then verdict="exit code $result"
  elif [ "${passed:-0}" = 0 ]; then verdict="no case passed"; fi
  printf '%-10s %-28s passed %3s  failed %s  findings %s  %4d s  %s\n' "$2" "$1" "${passed:-0}" "$failed" "${findings:--}" $((SECONDS - begin)) "$verdict" |
    tee "$log.line"
}
export -f one
export logs seconds sanitizer

# Programs that have cases on cuda; under a tool only the kernels'.
list() {
  local program name
  for program in "$build"/tests/*_test; do
    name=$(basename "$program" _test)
    [[ $name =~ $only ]] || continue
    if [ "$1" != none ] && [[ $name != kernels_* ]]; then continue; fi
    "$program" --gtest_list_tests '--gtest_filter=*cuda*' 2>/dev/null | grep -q '^  ' || continue
    printf '%s\0%s\0%s\0' "$name" "$1" "$program"
  done
}
for tool in "${tools[@]}"; do list "$tool"; done | xargs -0 -r -n 3 -P "$jobs" bash -c 'one "$@"' one

total=$(find "$logs" -name '*.line' | wc -l)
clean=$(cat "$logs"/*.line 2>/dev/null | grep -c ' clean$' || true)
echo "tests/cuda.sh: $clean of $total programs clean; logs in $logs"
[ "$total" -gt 0 ] && [ "$clean" = "$total" ]
