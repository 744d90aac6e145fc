#!/usr/bin/env bash
# Shows Apus at work: installs what is missing, builds, starts simulated model servers, a real Envoy and Apus, and sends
# real OpenAI requests through Envoy.
#
#   deploy/demo.sh                    stays up until Ctrl-C, so that you can send requests of your own
#   deploy/demo.sh --once             ends after the table
#   deploy/demo.sh --disaggregated    with separate prefill and decode servers, between which Apus makes the sub-requests; a
#                                     prefill server is killed under load (with --once, too)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

once=0
disaggregated=0
for argument in "$@"; do
    case $argument in
        --once) once=1 ;;
        --disaggregated) disaggregated=1 ;;
        -h | --help)
            sed -n '2,8s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit
            ;;
        *)
            echo "demo: error: unknown argument $argument (known: --once, --disaggregated)" >&2
            exit 2
            ;;
    esac
done

model=demo-model
directory=$(mktemp -d)
# The processes by name, and the names in the order of their starts.
declare -A pids=()
names=()

say() { echo "demo: $*"; }
die() {
    echo "demo: error: $*" >&2
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

say "1/4 what is needed"
bash deploy/install-deps.sh python3
envoy=$(bash deploy/install-envoy.sh)

say "2/4 building in release mode (a few minutes the first time)"
for product in apus apus-sim; do
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
binaries=$(swift build -c release --show-bin-path)

# The times of all simulated servers.
timing=(--time-to-first-token 0 --prefill-overhead 15ms --prefill-time-per-token 60us --inter-token-latency 8ms
    --time-factor-under-load 2 --enable-kvcache --block-size 16)

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

demo() {
    local servers=4 ports endpoints list
    say "3/4 starting $servers simulated model servers, Apus and Envoy"
    start apus-sim "$binaries/apus-sim" --count "$servers" --port 0 --model "$model" --max-model-len 32768 \
        "${timing[@]}" --kv-cache-size 4096
    await apus-sim apus-sim.out '^ready'
    mapfile -t ports < <(sed -nE 's/^listening .*:([0-9]+)$/\1/p' "$directory/apus-sim.out")
    endpoints=$(printf ',127.0.0.1:%s' "${ports[@]}")
    start_apus --endpoints "${endpoints:1}"
    list=$(printf ', {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}' "${ports[@]}")
    start_envoy deploy/envoy/override-host.yaml "s|@ENDPOINTS@|${list:2}|"

    say "4/4 requests through Envoy on 127.0.0.1:$port"
    python3 deploy/demo/requests.py run "127.0.0.1:$port" "127.0.0.1:$metrics_port" "$model"
}

# start_server NAME PORT: a model server that is a process of its own; 0 for any port.
start_server() {
    start "$1" "$binaries/apus-sim" --port "$2" --model "$model" --max-model-len 32768 --max-num-seqs 256 \
        "${timing[@]}" --kv-cache-size 65536 --role "${1%-*}" --kv-connector nixl --kv-load-failure-policy recompute \
        --kv-cache-transfer-time-per-token 2us
    await "$1" "$1.out" '^ready'
}

demo_disaggregated() {
    local servers=(prefill-1 prefill-2 prefill-3 decode-1 decode-2) name list="" story verb
    local -A server_port=()
    say "3/4 starting 3 simulated prefill and 2 decode servers, Apus and Envoy"
    echo "endpoints:" >"$directory/endpoints.yaml"
    for name in "${servers[@]}"; do
        start_server "$name" 0
        server_port[$name]=$(sed -nE 's/^listening .*:([0-9]+)$/\1/p' "$directory/$name.out")
        echo "- {name: $name, address: 127.0.0.1, port: ${server_port[$name]}, labels: {llm-d.ai/role: ${name%-*}}}" \
            >>"$directory/endpoints.yaml"
        list+=,$name=127.0.0.1:${server_port[$name]}
    done
    sed "s|@ENDPOINTS@|$directory/endpoints.yaml|" deploy/demo/disaggregated.yaml >"$directory/apus.yaml"
    start_apus --config-file "$directory/apus.yaml"
    start_envoy deploy/envoy/original-dst.yaml

    say "4/4 requests through Envoy on 127.0.0.1:$port"
    # The client says on its descriptor 3 what shall become of a server.
    exec 5>&1
    exec 4< <(exec python3 deploy/demo/disaggregated.py "127.0.0.1:$port" "127.0.0.1:$metrics_port" "$model" \
        "${list:1}" 3>&1 >&5 4<&- 5>&-)
    story=$!
    pids[story]=$story
    names+=(story)
    while read -r verb name <&4; do
        case $verb in
            kill)
                # Without the shell's own word that it was killed.
                { kill -KILL "${pids[$name]}" && wait "${pids[$name]}" || true; } 2>/dev/null
                forget "$name"
                ;;
            start) start_server "$name" "${server_port[$name]}" ;;
        esac
    done
    wait "$story" || exit 1
    forget story
    exec 4<&- 5>&-
}

if ((disaggregated)); then demo_disaggregated; else demo; fi

if ((once)); then
    ((disaggregated)) || say "done. Try next: deploy/demo.sh, which stays up for requests of your own"
    exit 0
fi
if ((disaggregated)); then
    awaited=("${pids[apus]}" "${pids[envoy]}" "${pids[decode-1]}" "${pids[decode-2]}")
    # Too long for the decode server alone.
    prompt="'\"\$(printf 'one more word %.0s' {1..400})\"'"
    more="  kill -9 ${pids[prefill-1]}     prefill-1 again, for good; then send requests as above"
else
    awaited=("${pids[@]}")
    prompt=Hello
    more=""
fi
cat <<END

Still up until Ctrl-C. Try next:
  curl -sN http://127.0.0.1:$port/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "$model", "stream": true, "max_tokens": 20, "messages": [{"role": "user", "content": "$prompt"}]}'
  curl -s http://127.0.0.1:$metrics_port/debug/decisions | head -c 2000     why the latest requests went where they went
  curl -s http://127.0.0.1:$metrics_port/debug/endpoints                    what Apus knows of each model server
  curl -s http://127.0.0.1:$metrics_port/metrics | grep -v '^#' | head -40  the metrics
$more
END
# The first process that ends, ends the demo; but prefill servers may.
wait -n "${awaited[@]}" || true
die "a process ended by itself; its last words: $(tail -n 3 "$directory"/*.err)"
