#!/usr/bin/env bash
# Shows Apus at work: installs what is missing, builds, starts simulated model servers, a real Envoy and Apus, and sends
# real OpenAI requests through Envoy.
#
#   deploy/demo.sh          stays up until Ctrl-C, so that you can send requests of your own
#   deploy/demo.sh --once   ends after the table
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

once=0
for argument in "$@"; do
    case $argument in
        --once) once=1 ;;
        -h | --help)
            sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit
            ;;
        *)
            echo "demo: error: unknown argument $argument (known: --once)" >&2
            exit 2
            ;;
    esac
done

servers=4
model=demo-model
directory=$(mktemp -d)
pids=()

say() { echo "demo: $*"; }
die() {
    echo "demo: error: $*" >&2
    exit 1
}

stop() {
    trap - EXIT INT TERM
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do kill "${pids[$i]}" 2>/dev/null || true; done
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
    pids+=($!)
}

# await NAME FILE PATTERN: waits until a line of the file matches; shows what the process said when it ends before.
await() {
    local name=$1 file=$directory/$2 pattern=$3 pid=${pids[-1]}
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

say "3/4 starting $servers simulated model servers, Apus and Envoy"
start apus-sim "$binaries/apus-sim" --count "$servers" --port 0 --model "$model" --max-model-len 32768 \
    --time-to-first-token 0 --prefill-overhead 15ms --prefill-time-per-token 60us --inter-token-latency 8ms \
    --time-factor-under-load 2 --enable-kvcache --kv-cache-size 4096 --block-size 16
await apus-sim apus-sim.out '^ready'
mapfile -t ports < <(sed -nE 's/^listening .*:([0-9]+)$/\1/p' "$directory/apus-sim.out")
endpoints=$(printf ',127.0.0.1:%s' "${ports[@]}")
start apus "$binaries/apus" --endpoints "${endpoints:1}" --bind-address 127.0.0.1 --grpc-port 0 --grpc-health-port 0 \
    --metrics-port 0 --secure-serving=false --log-format text
await apus apus.err 'metrics listening on'
apus_port=$(sed -nE 's/.*ext_proc listening on [^ ]*:([0-9]+).*/\1/p' "$directory/apus.err" | head -n 1)
metrics_port=$(sed -nE 's/.*metrics listening on [^ ]*:([0-9]+).*/\1/p' "$directory/apus.err" | head -n 1)

list=$(printf ', {endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}' "${ports[@]}")
sed -e "s|@LISTENER_PORT@|0|; s|@ADMIN_PORT@|0|; s|@EXT_PROC_PORT@|$apus_port|; s|@ENDPOINTS@|${list:2}|" \
    deploy/envoy/override-host.yaml >"$directory/envoy.yaml"
start envoy "$envoy" -c "$directory/envoy.yaml" --concurrency 1 --disable-hot-restart \
    --admin-address-path "$directory/admin" -l warning --component-log-level config:info
await envoy envoy.err 'starting workers'
port=$(python3 deploy/demo/requests.py listener "$(cat "$directory/admin")")

say "4/4 requests through Envoy on 127.0.0.1:$port"
python3 deploy/demo/requests.py run "127.0.0.1:$port" "127.0.0.1:$metrics_port" "$model"

if ((once)); then
    say "done. Try next: deploy/demo.sh, which stays up for requests of your own"
    exit 0
fi
cat <<END

Still up until Ctrl-C. Try next:
  curl -sN http://127.0.0.1:$port/v1/chat/completions -H 'content-type: application/json' \\
    -d '{"model": "$model", "stream": true, "max_tokens": 20, "messages": [{"role": "user", "content": "Hello"}]}'
  curl -s http://127.0.0.1:$metrics_port/debug/decisions | head -c 2000     why the latest requests went where they went
  curl -s http://127.0.0.1:$metrics_port/debug/endpoints                    what Apus knows of each model server
  curl -s http://127.0.0.1:$metrics_port/metrics | grep -v '^#' | head -40  the metrics
END
# The first process that ends, ends the demo.
wait -n "${pids[@]}" || true
die "a process ended by itself; its last words: $(tail -n 3 "$directory"/*.err)"
