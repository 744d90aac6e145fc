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
program=demo
. deploy/demo/processes.sh

say "1/4 what is needed"
bash deploy/install-deps.sh python3
envoy=$(bash deploy/install-envoy.sh)

say "2/4 building in release mode (a few minutes the first time)"
build apus apus-sim
binaries=$(swift build -c release --show-bin-path)

# The times of all simulated servers.
timing=(--time-to-first-token 0 --prefill-overhead 15ms --prefill-time-per-token 60us --inter-token-latency 8ms
    --time-factor-under-load 2 --enable-kvcache --block-size 16)

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
