#!/usr/bin/env bash
# From a checkout to a conversation: builds the tools, converts the small model in samples/tiny_model and talks to it.
#
#   bash samples/quickstart.sh                    talk; /help lists what there is, Ctrl-D leaves
#   bash samples/quickstart.sh Who are you?       answer this and exit
#   echo "Who are you?" | bash samples/quickstart.sh
#
# The answer is all that goes to stdout. Everything made lies in build/quickstart.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/quickstart
checkpoint=$root/samples/tiny_model/checkpoint
model=$build/tiny.rill

# shellcheck source=../.ci/packages.sh
source "$root/.ci/packages.sh"
need_build_packages
install_missing

mkdir -p "$build"
if ! cmake -S "$root" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DRILL_BUILD_TESTS=OFF -DRILL_BUILD_TOOLS=ON \
  -DRILL_CUDA=OFF >"$build/configure.log" 2>&1; then
  cat "$build/configure.log" >&2
  exit 1
fi
cmake --build "$build" --target rill-convert rill-chat >&2

is_stale() {
  [ ! -e "$model" ] || [ -n "$(find "$checkpoint" -type f -newer "$model" -print -quit)" ]
}
if is_stale; then
  "$build/bin/rill-convert" --input "$checkpoint" --output "$model" --format bf16 >&2
fi

chat=("$build/bin/rill-chat" --model "$model" --temperature 0)
if [ $# -gt 0 ]; then
  exec "${chat[@]}" --prompt "$*"
elif [ ! -t 0 ]; then
  prompt=$(cat)
  exec "${chat[@]}" --prompt "${prompt:-What is a river?}"
fi
exec "${chat[@]}"
