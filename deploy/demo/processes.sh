# Processes of a script: to be sourced. `program` is the script's name; the script needs `binaries` and `envoy` before it starts those.
# Whatever was started ends with the script.

directory=$(mktemp -d)
# The processes by name, and the names in the order of their starts.
declare -A pids=()
names=()

say() { echo "$program: $*"; }
die() {
    echo "$program: error: $*" >&2
    exit 1
}

stop() {
    trap - EXIT
    # Another Ctrl-C must not leave anything behind.
    trap '' INT TERM
    for ((i = ${#names[@]} - 1; i >= 0; i--)); do kill "${pids[${names[$i]}]}" 2>/dev/null || true; done
    for pid in ${pids[@]+"${pids[@]}"}; do wait "$pid" 2>/dev/null || true; done
    rm -rf "$directory"
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# start NAME COMMAND...: starts a process whose output goes to a log of that name.
start() {
    local name=$1
    shift
    "$@" >"$directory/$name.out" 2>"$directory/$name.err" </dev/null &
    pids[$name]=$!
    names+=("$name")
}

# forget NAME: it has ended, and its number may be another's soon.
forget() {
    local left=() name
    for name in "${names[@]}"; do [[ $name == "$1" ]] || left+=("$name"); done
    names=("${left[@]}")
    unset "pids[$1]"
}

# await NAME FILE PATTERN: waits until a line of the file matches; shows what the process said when it ends before.
await() {
    local name=$1 file=$directory/$2 pattern=$3 pid=${pids[$1]}
    for ((i = 0; i < 600; i++)); do
        grep -qE "$pattern" "$file" 2>/dev/null && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.05
    done
    cat "$directory/$name.out" "$directory/$name.err" >&2
    die "$name did not start"
}

# build PRODUCT...: in release mode.
build() {
    local product line
    for product in "$@"; do
        swift build -c release --product "$product" 2>&1 |
            if [[ -t 1 ]]; then
                while IFS= read -r line; do
                    printf '\r\033[K      %.100s' "$line"
                    [[ $line != *error:* ]] || printf '\n'
                done
                printf '\r\033[K'
            else
                grep -E 'error:|Build of product|Compiling.*\[.*0/' || true
            fi
    done
}

# start_apus FLAGS...: sets apus_port and metrics_port.
start_apus() {
    start apus "$binaries/apus" "$@" --bind-address 127.0.0.1 --grpc-port 0 --grpc-health-port 0 --metrics-port 0 \
        --secure-serving=false --log-format text
    await apus apus.err 'metrics listening on'
    apus_port=$(sed -nE 's/.*ext_proc listening on [^ ]*:([0-9]+).*/\1/p' "$directory/apus.err" | head -n 1)
    metrics_port=$(sed -nE 's/.*metrics listening on [^ ]*:([0-9]+).*/\1/p' "$directory/apus.err" | head -n 1)
}

# start_envoy FILE [SED]: with the ports filled in, and what the expression changes; sets port.
start_envoy() {
    sed -e "s|@LISTENER_PORT@|0|; s|@ADMIN_PORT@|0|; s|@EXT_PROC_PORT@|$apus_port|; ${2:-}" "$1" >"$directory/envoy.yaml"
    start envoy "$envoy" -c "$directory/envoy.yaml" --concurrency 1 --disable-hot-restart \
        --admin-address-path "$directory/admin" -l warning --component-log-level config:info
    await envoy envoy.err 'starting workers'
    port=$(python3 deploy/demo/requests.py listener "$(cat "$directory/admin")")
}
