#!/usr/bin/env bash
# Puts the schemas of Kubernetes' own objects, with a program that compares objects with them, into .cache/schemas and prints the program's path,
# the only line on standard output. APUS_SCHEMAS, when it names an executable, is taken instead. Idempotent.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=1.37.0
die() { echo "schemas: error: $*" >&2; exit 1; }

if [[ -n ${APUS_SCHEMAS:-} ]]; then
    [[ -x $APUS_SCHEMAS ]] || die "APUS_SCHEMAS is $APUS_SCHEMAS, which is no executable"
    echo "$APUS_SCHEMAS"
    exit
fi

venv=$PWD/.cache/schemas
program=$venv/bin/kubernetes-validate
mkdir -p .cache
# Two runs at once must not build the same directory.
exec 9>.cache/schemas.lock
flock 9

if [[ $("$program" --version 2>/dev/null) != *"$version"* ]]; then
    if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then
        bash deploy/install-deps.sh python3 python3-venv
    fi
    echo "schemas: installing kubernetes-validate $version into .cache/schemas" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "kubernetes-validate==$version" >&2 ||
        die "pip could not install kubernetes-validate==$version"
fi
"$program" --version >/dev/null || die "$program does not run"
echo "$program"
