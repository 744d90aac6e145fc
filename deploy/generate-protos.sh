#!/usr/bin/env bash
# Writes the protobuf-c code of Sources/CEnvoyAPI from Protos/. Argument: another folder to write to (the tests compare).
set -euo pipefail
cd "$(dirname "$0")/.."
target=$(mkdir -p "${1:-Sources/CEnvoyAPI}" && cd "${1:-Sources/CEnvoyAPI}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# shellcheck disable=SC2046  # the names hold no spaces
protoc-c --proto_path=Protos --c_out="$work" $(cd Protos && find . -name '*.proto' | sed 's|^\./||' | sort)

# SwiftPM's C targets are flat, so the files are too: their paths become part of their names.
mkdir -p "$target/generated" "$target/include"
rm -f "$target"/generated/*.pb-c.c "$target"/include/*.pb-c.h
(cd "$work" && find . -name '*.pb-c.*' | sed 's|^\./||' | sort) | while read -r file; do
    flat=${file//\//_}
    case "$file" in
        *.h) out="$target/include/$flat" ;;
        *) out="$target/generated/$flat" ;;
    esac
    sed -E -e '/^#include "/{s|/|_|g;}' "$work/$file" > "$out"
done
