#!/usr/bin/env bash
# Installs what `apus-bench envoy` and `apus-bench select` compare Apus with: HTTP routers and a selection service, from
# PyPI, each into a venv of its own below .cache/peers (or the directory that APUS_PEERS names). Idempotent.
#
#   deploy/bench-peers.sh            all of them
#   deploy/bench-peers.sh NAME...    vllm-router, sglang-router, dynamo
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { echo "peers: $*" >&2; }
die() { echo "peers: error: $*" >&2; exit 1; }

directory=${APUS_PEERS:-.cache/peers}
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
# Two runs at once must not build the same directory.
exec 9>"$directory/lock"
flock 9

if ! python3 -c 'import venv, ensurepip' 2>/dev/null; then bash deploy/install-deps.sh python3 python3-venv; fi

# install NAME MODULE PIP-ARGUMENTS... [-- PIP-ARGUMENTS...]: one pip run for every list between the `--`. The venv is whole when
# the file that says what it was made of is there and the module can be found.
install() {
    local name=$1 module=$2
    shift 2
    local venv=$directory/$name recipe="$*" run=()
    if [[ -f $venv/recipe && $(<"$venv/recipe") == "$recipe" ]]; then
        say "$name is there"
        return
    fi
    say "installing $name into $venv"
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    for argument in "$@" --; do
        if [[ $argument != -- ]]; then
            run+=("$argument")
            continue
        fi
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-input "${run[@]}" >&2 ||
            die "pip could not install ${run[*]}"
        run=()
    done
    "$venv/bin/python" -c "import importlib.util as u, sys; sys.exit(u.find_spec('$module') is None)" ||
        die "$name has no module $module"
    printf '%s' "$recipe" >"$venv/recipe"
}

install_peer() {
    case $1 in
        vllm-router) install vllm-router vllm_router vllm-router==0.1.17 ;;
        sglang-router) install sglang-router sglang_router sglang-router==0.3.2 ;;
        # One of its dependencies is not on PyPI, and not needed for selection.
        dynamo)
            install dynamo dynamo ai-dynamo-runtime==1.6.1 -- --no-deps ai-dynamo==1.6.1 -- 'pydantic<=2.13.5' uvloop
            ;;
        *) die "unknown peer $1 (known: vllm-router, sglang-router, dynamo)" ;;
    esac
}

(($# > 0)) || set -- vllm-router sglang-router dynamo
for peer in "$@"; do install_peer "$peer"; done
