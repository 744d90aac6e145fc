#!/usr/bin/env bash
# Builds the fuzz targets and runs each for a while: deploy/fuzz.sh [seconds] [target...]
#
# Without targets all run, one after the other. Inputs that add coverage stay in .build-fuzz/corpus/<target>; an input that breaks a target is
# written to .build-fuzz/found and ends the run with an error.
set -euo pipefail

package="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)/Tests/Fuzz"
build="${FUZZ_BUILD:-$package/../../.build-fuzz}"

seconds=60
if [[ ${1:-} =~ ^[0-9]+$ ]]; then
    seconds=$1
    shift
fi
if [[ $# -gt 0 ]]; then
    targets=("$@")
else
    targets=()
    for folder in "$package"/Targets/fuzz-*/; do targets+=("$(basename "$folder")"); done
fi

# A crash is libFuzzer's to report: it saves the input.
export SWIFT_BACKTRACE=enable=no

mkdir -p "$build/found"
build="$(cd "$build" && pwd)"

for target in "${targets[@]}"; do
    if [[ ! -d "$package/Targets/$target" ]]; then
        echo "fuzz.sh: there is no target $target in Tests/Fuzz/Targets" >&2
        exit 2
    fi
    echo "== $target: build"
    # SwiftPM passes each sanitizer as an option of its own, in any order, and of several the compiler heeds the last: hence the second form.
    swift build -c release --package-path "$package" --scratch-path "$build" --product "$target" \
        --sanitize=fuzzer --sanitize=address -Xswiftc -sanitize=fuzzer,address
    program="$(swift build -c release --package-path "$package" --scratch-path "$build" \
        --show-bin-path)/$target"

    arguments=(-max_total_time="$seconds" -max_len=8192 -rss_limit_mb=2048 -timeout=20 -print_final_stats=1)
    dictionary="$package/Corpus/$target.dict"
    if [[ -f $dictionary ]]; then arguments+=(-dict="$dictionary"); fi
    mkdir -p "$build/corpus/$target"
    echo "== $target: $seconds seconds"
    "$program" "${arguments[@]}" -artifact_prefix="$build/found/$target-" "$build/corpus/$target" "$package/Corpus/$target"
done
echo "== nothing found in: ${targets[*]}"
