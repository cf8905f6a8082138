#!/usr/bin/env bash
# What a GPU has to prove: the device tests on `cuda`, and compute-sanitizer over the kernel suites.
#
#   bash tests/cuda.sh                     builds build/cuda and runs every test program that has cases on cuda
#   bash tests/cuda.sh --sanitize          the kernel suites under memcheck, racecheck, initcheck and synccheck: every case a process
#   bash tests/cuda.sh --sanitize=TOOL     one of them
#   --build DIR    a configured build tree with RILL_CUDA=ON instead of build/cuda
#   --no-build     takes the programs as they are
#   --only REGEX   programs whose name matches, e.g. --only 'mla|fused'
#   --cases FILTER GoogleTest's filter, e.g. --cases '*FusedDecoder*/cuda', instead of '*cuda*'
#   --jobs N       processes at once (8)
#   --seconds N    for one of them (600; 1800 under a tool)
#   --sms N        multiprocessors of the GPU that the tests use; 0: all, as without a tool. Racecheck takes seconds for each launch of a grid that
#                  fills a big GPU. It looks at each block for itself, so it has 8 unless told otherwise.
#   --sanitizer P  the compute-sanitizer to take. Racecheck of 2025.3 (CUDA 13.0) reports what lies on two sides of a __syncthreads() behind the
#                  fused step's attention (AgreesOverTilesAndPages); 2026.3 (CUDA 13.4) did not in the launches it was given.
#
# Logs go to DIR/cuda-logs. Exit code 0: all clean; 1: a failure, a finding or a process out of time; without a GPU it says so and exits 0.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/cuda jobs=8 seconds= only=. cases='*cuda*' compile=yes sms= sanitizer=
tools=(none)
while [ $# -gt 0 ]; do
  case $1 in
    --sanitize) tools=(racecheck memcheck initcheck synccheck) ;;  # the slowest first
    --sanitize=*) tools=("${1#*=}") ;;
    --no-build) compile=no ;;
    --build | --only | --cases | --jobs | --seconds | --sms | --sanitizer)
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
if [ -z "$sanitizer" ]; then sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda*/bin/compute-sanitizer 2>/dev/null | head -1 || true); fi
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

# NAME TOOL PROGRAM FILTER: one process, its log, one line of summary.
one() {
  local log=$logs/$2.${1//\//.}.log command=("$3" --gtest_color=no "--gtest_filter=$4") begin=$SECONDS result=0
  local budget=$sms
  if [ "$2" != none ]; then
    export RILL_TEST_UNDER_TOOL=1  # cases that draw thousands of times draw a few
    if [ "$2" = racecheck ]; then budget=${sms:-8}; fi
    local options=(--tool "$2" --error-exitcode 9)
    # Some tests ask for more memory than there is: that call may fail.
    if [ "$2" = memcheck ]; then options+=(--report-api-errors no); fi
    command=("$sanitizer" "${options[@]}" "${command[@]}")
  fi
  RILL_TEST_SM_BUDGET=${budget:-0} timeout -k 10 "$seconds" "${command[@]}" >"$log" 2>&1 || result=$?
  local passed skipped failed findings
  passed=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test.*/\1/p' "$log" | tail -1)
  skipped=$(grep -c '^\[  SKIPPED \] .*ms)$' "$log" || true)
  failed=$(grep -c '^\[  FAILED  \] .*ms)$' "$log" || true)
  findings=$(sed -n 's/^=* *\(ERROR SUMMARY\|RACECHECK SUMMARY\): \([0-9]*\).*/\2/p' "$log" | tail -1)
  local verdict=clean
  if [ $result -ge 124 ]; then verdict="out of time at $(grep '^\[ RUN' "$log" | tail -1 | cut -c14-)"
  elif [ $result -ne 0 ]; then verdict="exit code $result"
  elif [ "$2" != none ] && [ "${passed:-0}" = 0 ] && [ "$skipped" != 0 ]; then verdict=skipped
  elif [ "${passed:-0}" = 0 ]; then verdict="no case passed"; fi
  printf '%-10s %-28s passed %3s  failed %s  findings %s  %4d s  %s\n' "$2" "$1" "${passed:-0}" "$failed" "${findings:--}" $((SECONDS - begin)) "$verdict" |
    tee "$log.line"
}
export -f one
if [ -z "$seconds" ]; then seconds=$([ "${tools[0]}" = none ] && echo 600 || echo 1800); fi
export logs seconds sanitizer sms

# Of programs that have cases on cuda, NAME TOOL PROGRAM FILTER: each program, or, under a tool, each case of the kernels' programs.
list() {
  local program name found
  for program in "$build"/tests/*_test; do
    name=$(basename "$program" _test)
    [[ $name =~ $only ]] || continue
    if [ "$1" != none ] && [[ $name != kernels_* ]]; then continue; fi
    found=$("$program" --gtest_list_tests "--gtest_filter=$cases") || { echo "tests/cuda.sh: $program does not run" >&2 && return 1; }
    found=$(awk '/^[^ ]/ { suite = $1 } /^  / { print suite $1 }' <<<"$found")
    if [ -z "$found" ]; then continue; fi
    if [ "$1" = none ]; then printf '%s\t%s\t%s\t%s\n' "$name" "$1" "$program" "$cases"; continue; fi
    local one_case
    for one_case in $found; do printf '%s\t%s\t%s\t%s\n' "$one_case" "$1" "$program" "$one_case"; done
  done
}
# Cases that take a tool long start first, so that none of them is left at the end alone.
slow='FusedDecoder|MlaDecode|MlaPrefill|Determinism'
{ for tool in "${tools[@]}"; do list "$tool"; done; } >"$logs/list"
{ grep -E "$slow" "$logs/list" || true; grep -vE "$slow" "$logs/list" || true; } | tr '\t\n' '\0\0' |
  xargs -0 -r -n 4 -P "$jobs" bash -c 'one "$@"' one

total=$(find "$logs" -name '*.line' | wc -l)
clean=$(cat "$logs"/*.line 2>/dev/null | grep -c ' clean$' || true)
skipped=$(cat "$logs"/*.line 2>/dev/null | grep -c ' skipped$' || true)
echo "tests/cuda.sh: $clean of $total clean, $skipped skipped; logs in $logs"
[ "$clean" -gt 0 ] && [ $((clean + skipped)) = "$(wc -l <"$logs/list")" ]
