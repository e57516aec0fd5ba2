#!/usr/bin/env bash
# Builds the example in every language and asks all of them the same cases; then makes, builds and tests a
# new project in every language. Toolchains that come from package registries are fetched once, into
# ~/.cache/weir. With LANGS="rust c" only those.
#
#   hack/examples.sh path/to/weir
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
weir=$(realpath "$1")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

run() {
  local name=$1
  shift
  printf '\n== %s\n' "$name"
  if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}

new() {
  "$weir" policy new "$work/new-$1" --lang "$1" >/dev/null && "$weir" policy test "$work/new-$1" && "$weir" policy check "$work/new-$1" | tail -n 3
}

for lang in ${LANGS:-rust js python c go}; do
  run "calm in $lang" "$weir" policy test "policies/examples/$lang-calm" --cases policies/examples/cases.yaml
  run "a new project in $lang" new "$lang"
done
printf '\nexamples: %d passed, %d failed\n' "$passed" "$failed"
[[ $failed == 0 ]]
