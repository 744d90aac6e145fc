#!/usr/bin/env bash
# Installs what is missing, then checks the format, builds, and runs every test. Needs no input; ends with a summary.
#
#   deploy/test.sh                everything, in a debug build
#   deploy/test.sh --sanitizers   the same again under AddressSanitizer and ThreadSanitizer
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

sanitizers=0
for argument in "$@"; do
    case $argument in
        --sanitizers) sanitizers=1 ;;
        -h | --help)
            sed -n '2,5s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
            exit
            ;;
        *)
            echo "test: error: unknown argument $argument (known: --sanitizers)" >&2
            exit 2
            ;;
    esac
done

began=$SECONDS
passed=()
failed=()

# step NAME COMMAND...: runs a step, says how long it took, and remembers how it ended.
step() {
    local name=$1 start=$SECONDS
    shift
    echo "== $name"
    if "$@" </dev/null; then
        passed+=("$name")
        echo "== $name: ok ($((SECONDS - start)) s)"
    else
        failed+=("$name")
        echo "== $name: FAILED ($((SECONDS - start)) s)"
        return 1
    fi
}

finish() {
    echo
    for name in ${passed[@]+"${passed[@]}"}; do echo "ok      $name"; done
    for name in ${failed[@]+"${failed[@]}"}; do echo "FAILED  $name"; done
    echo "test: ${#passed[@]} steps passed, ${#failed[@]} failed, $((SECONDS - began)) s"
    ((${#failed[@]} == 0)) || exit 1
    exit 0
}

find_envoy() {
    APUS_ENVOY=$(bash deploy/install-envoy.sh) && export APUS_ENVOY && echo "$APUS_ENVOY"
}

find_schemas() {
    APUS_SCHEMAS=$(bash deploy/install-schemas.sh) && export APUS_SCHEMAS && echo "$APUS_SCHEMAS"
}

# Not all tests at once: those that only compute take the few threads of a small machine from those that wait for servers and
# processes, for longer than their patience lasts. The end-to-end tests come one after the other, so that a server that is
# killed finds its port free when it is started again. No test is of XCTest; its empty run would count as one that leaks.
servers='ApusSimTests|ApusTests|EndpointPickerTests|HTTPServerTests|RPCTests|ScrapingTests|SubRequestsTests'
simulations='ApusBenchTests|RoutingSimulationTests'
run_tests() {
    swift test --skip-build --disable-xctest "$@"
}
test_all() {
    local name=$1
    shift
    step "build$name" swift build --build-tests "$@" || return
    step "unit tests$name" run_tests --skip "EndToEndTests|DiscoveryTests|$simulations|$servers" "$@"
    step "simulation tests$name" run_tests --filter "$simulations" "$@"
    step "discovery tests$name" run_tests --filter DiscoveryTests "$@"
    step "server tests$name" run_tests --filter "$servers" "$@"
    step "end-to-end tests$name" run_tests --no-parallel --filter EndToEndTests "$@"
}

# For the chart: its templates are Go's.
step "dependencies" bash deploy/install-deps.sh golang-go python3-jsonschema python3-yaml || finish
step "envoy" find_envoy || finish
step "schemas" find_schemas
step "format" swift format lint --strict --parallel --recursive Package.swift Sources Tests
# A package of its own, which nothing else builds: a target that stopped compiling, or that falls over at once, is found here.
step "fuzz targets" bash deploy/fuzz.sh 5
step "generated code" bash deploy/check-generated.sh
test_all ""
# That every suite works; no figure of a debug build on a shared machine is judged. Programs of the tests stand in for the peers,
# unless APUS_PEERS says where these are.
step "benchmarks" env APUS_PEERS="${APUS_PEERS:-$PWD/Tests/StandInPeers}" timeout 600 .build/debug/apus-bench report --short
step "deployment" env APUS="$PWD/.build/debug/apus" /usr/bin/python3 Tests/Deployment/test_deployment.py
if ((sanitizers)); then
    # The code under test aborts at the first report; Envoy and other programs that tests start are not instrumented.
    export ASAN_OPTIONS=detect_leaks=1:suppressions=$PWD/Tests/Sanitizers/address.txt:${ASAN_OPTIONS:-}
    export LSAN_OPTIONS=suppressions=$PWD/Tests/Sanitizers/leak.txt:print_suppressions=0:${LSAN_OPTIONS:-}
    export TSAN_OPTIONS=halt_on_error=1:suppressions=$PWD/Tests/Sanitizers/thread.txt:${TSAN_OPTIONS:-}
    test_all " (address sanitizer)" --sanitize=address --build-path .build-asan
    test_all " (thread sanitizer)" --sanitize=thread --build-path .build-tsan
fi
finish
