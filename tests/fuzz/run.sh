#!/usr/bin/env bash
# Builds the fuzzers with clang, ASan and UBSan, and runs each for so many seconds (60) on top of the committed corpus.
# Finds and new inputs go to build/fuzz-finds/NAME.
#
#   bash tests/fuzz/run.sh [SECONDS] [NAME...]
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
seconds=${1:-60}
shift || true
names=("$@")
if [ ${#names[@]} -eq 0 ]; then names=(session_load model_load safetensors); fi

# shellcheck source=../../.ci/packages.sh
source "$root/.ci/packages.sh"
need_build_packages
need_test_packages
need_command clang++ clang
install_missing
# The runtime comes with clang or, by release, in a package of its own.
if ! echo 'extern "C" int LLVMFuzzerTestOneInput(const char*, long) { return 0; }' |
  clang++ -fsanitize=fuzzer,address -x c++ - -o /dev/null 2> /dev/null; then
  need_package libclang-rt-dev
  install_missing
fi

cd "$root"
cmake --preset fuzz -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DRILL_CUDA=OFF -DRILL_BUILD_TOOLS=OFF -DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O1 > /dev/null
cmake --build build/fuzz --target "${names[@]/#/fuzz_}"

fuzz() { # NAME
  local name=$1 finds=build/fuzz-finds/$1
  mkdir -p "$finds"
  # -max_len: a little more than the largest seed
  build/fuzz/tests/fuzz/fuzz_"$name" -max_total_time="$seconds" -timeout=5 -rss_limit_mb=768 -max_len=131072 \
    -verbosity=0 -print_final_stats=1 -artifact_prefix="$finds/" "$finds" "tests/fuzz/corpus/$name" 2>&1 |
    sed "s/^/$name: /" | grep -v 'dictionary\|new_units\|slowest\|^$'
}

# One for each processor at a time: each has its seconds to itself.
export -f fuzz
export seconds
printf '%s\n' "${names[@]}" | xargs -n 1 -P "$(nproc)" bash -c 'set -euo pipefail; fuzz "$1"' fuzz
