#!/usr/bin/env bash
# The protobuf-c code in Sources/CEnvoyAPI is checked in so that a build needs no generator. This regenerates it from
# Protos/ and fails when the two differ. With --write it replaces the code instead.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "generated code: $*" >&2; }

mapfile -t protos < <(find Protos -name '*.proto' 2>/dev/null | sort)
if ((${#protos[@]} == 0)); then
    say "no Protos/, nothing to check"
    exit
fi

target=Sources/CEnvoyAPI
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
protoc-c --proto_path=Protos --c_out="$fresh" "${protos[@]}"
# Headers lie where SwiftPM looks for them, sources beside.
mapfile -t files < <(cd "$fresh" && find . -type f -printf '%P\n' | sort)
differing=0
for file in "${files[@]}"; do
    case $file in
        *.h) checked_in=$target/include/$file ;;
        *) checked_in=$target/$file ;;
    esac
    if [[ ${1:-} == --write ]]; then
        mkdir -p "$(dirname "$checked_in")"
        cp "$fresh/$file" "$checked_in"
    elif ! cmp -s "$fresh/$file" "$checked_in"; then
        say "$checked_in differs from what Protos/ gives"
        differing=1
    fi
done
if ((differing)); then
    say "run deploy/check-generated.sh --write and commit the result"
    exit 1
fi
say "${#files[@]} files are as Protos/ gives them"
