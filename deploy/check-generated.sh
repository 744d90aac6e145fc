#!/usr/bin/env bash
# The protobuf-c code in Sources/CEnvoyAPI is checked in so that a build needs no generator. This generates it anew from
# Protos/ and fails when the two differ.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "generated code: $*" >&2; }

if [[ -z $(find Protos -name '*.proto' -print -quit 2>/dev/null) ]]; then
    say "no Protos/, nothing to check"
    exit
fi

target=Sources/CEnvoyAPI
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
bash deploy/generate-protos.sh "$fresh"
list() { (cd "$1" && find . -name '*.pb-c.[ch]' | sort); }
differing=0
while read -r file; do
    if ! cmp -s "$fresh/$file" "$target/$file"; then
        say "$target/${file#./} is not what Protos/ gives"
        differing=1
    fi
done < <({ list "$fresh"; list "$target"; } | sort -u)
if ((differing)); then
    say "run deploy/generate-protos.sh and commit the result"
    exit 1
fi
say "$(list "$fresh" | wc -l) files are as Protos/ gives them"
