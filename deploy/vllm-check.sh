#!/usr/bin/env bash
# Checks Apus against real vLLM servers: one that does it all, one that prefills and one that decodes over the NixlConnector. Sends the same
# greedy prompts to the first and, through Envoy and Apus, to the other two, and shows that the tokens are the same and that the decode
# server got its prompts by external_kv_transfer. A prefill server that always fails stands beside the real one, so that some prefills need
# a second attempt. The servers must be idle otherwise. Its status is 0 when all of it holds.
#
#   deploy/vllm-check.sh [--mode handoff|relay|both] [MONOLITHIC [PREFILL [DECODE]]]
#
# The addresses are 127.0.0.1:8101, :8200 and :8201 unless given, or set as VLLM_MONOLITHIC, VLLM_PREFILL and VLLM_DECODE; IP:PORT each.
# APUS_BINARIES names a directory with a built apus, which is taken instead of building one.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() { sed -n '2,10s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; }
modes=(handoff relay)
addresses=()
while (($# > 0)); do
    case $1 in
        --mode)
            case ${2:-} in
                handoff | relay) modes=("$2") ;;
                both) ;;
                *)
                    echo "vllm-check: error: --mode is handoff, relay or both" >&2
                    exit 2
                    ;;
            esac
            shift
            ;;
        -h | --help)
            usage
            exit
            ;;
        -*)
            echo "vllm-check: error: unknown argument $1 (known: --mode)" >&2
            exit 2
            ;;
        *) addresses+=("$1") ;;
    esac
    shift
done
monolithic=${addresses[0]:-${VLLM_MONOLITHIC:-127.0.0.1:8101}}
prefill=${addresses[1]:-${VLLM_PREFILL:-127.0.0.1:8200}}
decode=${addresses[2]:-${VLLM_DECODE:-127.0.0.1:8201}}

program=vllm-check
. deploy/demo/processes.sh

bash deploy/install-deps.sh python3
envoy=$(bash deploy/install-envoy.sh)
if [[ -n ${APUS_BINARIES:-} ]]; then
    binaries=$APUS_BINARIES
else
    build apus
    binaries=$(swift build -c release --show-bin-path)
fi

start faulty python3 deploy/demo/vllm_check.py faulty
await faulty faulty.out '^listening'
faulty=$(sed -nE 's/^listening (.*)$/\1/p' "$directory/faulty.out")

status=0
for mode in "${modes[@]}"; do
    {
        echo "endpoints:"
        for server in "prefill-faulty $faulty" "prefill-vllm $prefill" "decode-vllm $decode"; do
            name=${server% *}
            address=${server#* }
            echo "- {name: $name, address: ${address%:*}, port: ${address##*:}, labels: {llm-d.ai/role: ${name%%-*}}}"
        done
    } >"$directory/endpoints.yaml"
    # Every prompt is to be split, however short.
    sed -e "s|@ENDPOINTS@|$directory/endpoints.yaml|; s|mode: handoff|mode: $mode|" \
        -e 's|{type: prefix-based-pd-decider, .*}$|{type: always-disagg-pd-decider}|; s|prefill: prefix-based-pd-decider|prefill: always-disagg-pd-decider|' \
        deploy/demo/disaggregated.yaml >"$directory/apus.yaml"
    start_apus --config-file "$directory/apus.yaml"
    start_envoy deploy/envoy/original-dst.yaml
    python3 deploy/demo/vllm_check.py run "$mode" "127.0.0.1:$port" "127.0.0.1:$metrics_port" "$monolithic" "$prefill" "$decode" \
        "$faulty" || status=1
    for name in envoy apus; do
        kill "${pids[$name]}"
        wait "${pids[$name]}" || true
        forget "$name"
    done
done
if ((status)); then say "FAILED"; else say "all of it holds: ${modes[*]}"; fi
exit $status
