#!/usr/bin/env bash
# Builds the fuzz targets with clang and runs each for some seconds on the committed corpus, two at a time.
#
#   bash tests/fuzz/run.sh [SECONDS]     60 by default; finds are kept in build/fuzz/finds and fail the run
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seconds=${1:-60}
build=$root/build/fuzz
targets=(session_load model_load safetensors)

# shellcheck source=../../.ci/packages.sh
source "$root/.ci/packages.sh"
need_build_packages
need_test_packages
need_command clang++ clang
install_missing
# The runtime comes with clang or in a package of its own, by release.
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address -x c++ - -o /dev/null 2>/dev/null; then
  rill_missing=(libclang-rt-dev)
  install_missing
fi

cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ \
  -DRILL_BUILD_FUZZERS=ON -DRILL_SANITIZE=address,undefined -DRILL_CUDA=OFF -DRILL_BUILD_TESTS=ON -DRILL_BUILD_TOOLS=OFF
cmake --build "$build" -j "$(nproc)" --target "${targets[@]/#/fuzz_}"

fuzz() { # TARGET
  local finds=$build/finds/$1 log=$build/fuzz_$1.log
  mkdir -p "$finds"
  if "$build/tests/fuzz/fuzz_$1" -max_total_time="$seconds" -timeout=2 -rss_limit_mb=512 -max_len=131072 -print_final_stats=1 \
    -artifact_prefix="$finds/" "$finds" "$root/tests/fuzz/corpus/$1" >"$log" 2>&1; then
    echo "fuzz $1: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, no find in $seconds s"
  else
    tail -40 "$log"
    echo "fuzz $1: FAILED, see $log"
    return 1
  fi
}

failed=0
running=()
for target in "${targets[@]}"; do
  if [ ${#running[@]} -eq 2 ]; then
    wait "${running[0]}" || failed=1
    running=("${running[@]:1}")
  fi
  fuzz "$target" &
  running+=($!)
done
for pid in "${running[@]}"; do wait "$pid" || failed=1; done
exit $failed
