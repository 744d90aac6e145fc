"""The client of deploy/vllm-check.sh.

    vllm_check.py faulty                                                  a prefill server that answers 503
    vllm_check.py run MODE ENVOY METRICS MONOLITHIC PREFILL DECODE FAULTY
"""

import http.server
import json
import re
import sys
import time
import uuid

from requests import connect, get, wait_until_scraped  # The file beside this one.

TOKENS = 24
WORDS = (3, 30, 200, 600)  # The longest is about 3,300 tokens of the smallest vocabulary.


class Faulty(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200, b'vllm:num_requests_running{engine="0"} 0\nvllm:num_requests_waiting{engine="0"} 0\nvllm:kv_cache_usage_perc{engine="0"} 0\n')

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        self.answer(503, b'{"error": {"message": "out of order", "code": 503}}')

    def log_message(self, *_):
        pass


def metrics(address):
    counts = {}
    for line in get(address, "/metrics").decode().splitlines():
        match = re.match(r"(vllm:[a-z_]+)(?:\{(.*)\})? ([-0-9.e+]+)$", line)
        if match:
            source = re.search(r'source="([^"]+)"', match[2] or "")
            name = match[1] + (f"/{source[1]}" if source else "")
            counts[name] = counts.get(name, 0) + float(match[3])
    return counts


def difference(before, after, name):
    return int(after.get(name, 0) - before.get(name, 0))


def ask(address, path, body, request_id):
    """Returns the text, the tokens where the server tells them, the usage, and the response's header."""
    connection = connect(address)
    headers = {"content-type": "application/json", "x-request-id": request_id}
    connection.request("POST", path, json.dumps(body), headers)
    response = connection.getresponse()
    if response.status != 200:
        raise RuntimeError(f"{address} {response.status} {response.read()[:300]!r}")
    text, tokens, usage = "", [], {}
    events = [response.read()]
    if body.get("stream"):
        events = [line[6:] for line in events[0].splitlines() if line.startswith(b"data: ")]
        if events.pop() != b"[DONE]":
            raise RuntimeError(f"{address}: the stream ended before [DONE]")
    for event in map(json.loads, events):
        if event.get("error"):
            raise RuntimeError(f"{address}: {event['error']}")
        usage = event.get("usage") or usage
        for choice in event["choices"]:
            text += choice.get("text") or (choice.get("message") or choice.get("delta") or {}).get("content") or ""
            tokens += choice.get("token_ids") or []
    connection.close()
    return text, tokens, usage, response.headers


def settled(address, before, wanted):
    """The server's metrics, once they count the wanted number of prompt tokens, or a moment later."""
    for _ in range(100):
        after = metrics(address)
        if difference(before, after, "vllm:prompt_tokens_total") >= wanted:
            break
        time.sleep(0.05)
    return after


def legs(picker, request_id):
    for _ in range(100):
        for decision in json.loads(get(picker, "/debug/decisions"))["decisions"]:
            if decision["requestId"] == request_id and decision["legs"] and decision["legs"][-1]["leg"] == "decode":
                return decision["legs"]
        time.sleep(0.02)
    return []


def run(mode, envoy, picker, monolithic, prefill, decode, faulty):
    model = json.loads(get(monolithic, "/v1/models"))["data"][0]["id"]
    version = json.loads(get(monolithic, "/version")).get("version")
    wait_until_scraped(picker)
    print(f"\nmode {mode}: vLLM {version}, model {model}, monolithic {monolithic}, prefill {prefill} (and a faulty one), decode {decode}")
    print(f"  {'API':<17} {'answer':<7} {'prompt':>6} {'external':>8} {'prefilled':>9} {'tokens':>6} {'equal':>5}  attempts and legs")
    start_prefill, start_decode = metrics(prefill), metrics(decode)
    wrong, count, again, prompts = [], 0, 0, 0
    for words in WORDS:
        for path in ("/v1/completions", "/v1/chat/completions"):
            for stream in (False, True):
                count += 1
                # A beginning that no cache has.
                request_id = f"check-{uuid.uuid4().hex}"
                text = f"{request_id} " + " ".join(f"def f{n}(a, b): return a * {n} - b" for n in range(words // 3))
                body = {"model": model, "max_tokens": TOKENS, "temperature": 0, "return_token_ids": True}
                body |= {"prompt": text} if path == "/v1/completions" else {"messages": [{"role": "user", "content": text}]}
                if stream:
                    body |= {"stream": True, "stream_options": {"include_usage": True}}
                try:
                    whole = ask(monolithic, path, body, request_id)
                    before, before_prefill = metrics(decode), metrics(prefill)
                    split = ask(envoy, path, body, request_id)
                except RuntimeError as error:
                    wrong.append(f"{request_id}: {error}")
                    print(f"  {path[4:]:<17} {'stream' if stream else 'json':<7} {error}")
                    continue
                prompt = split[2]["prompt_tokens"]
                after, after_prefill = settled(decode, before, prompt), settled(prefill, before_prefill, prompt)
                external = difference(before, after, "vllm:prompt_tokens_by_source_total/external_kv_transfer")
                computed = difference(before_prefill, after_prefill, "vllm:prompt_tokens_by_source_total/local_compute")
                is_equal = whole[:2] == split[:2] and whole[2]["completion_tokens"] == split[2]["completion_tokens"]
                way = legs(picker, request_id)
                attempts = split[3].get("x-apus-attempts")
                again += attempts == "2"
                prompts += prompt
                if not is_equal:
                    wrong.append(f"{request_id}: {split[0]!r} is not {whole[0]!r}")
                if external != prompt or computed != prompt or not way:
                    wrong.append(f"{request_id}: of {prompt} prompt tokens {computed} were prefilled and {external} transferred")
                said = ", ".join(f"{leg['leg']} {leg['endpoint']} {leg['outcome']} {leg['seconds'] * 1000:.0f} ms" for leg in way)
                kind = "stream" if stream else "json"
                tokens = len(split[1]) or split[2]["completion_tokens"]
                print(f"  {path[4:]:<17} {kind:<7} {prompt:6} {external:8} {computed:9} {tokens:6} {'yes' if is_equal else 'NO':>5}  {attempts}: {said}")
    end_prefill, end_decode = metrics(prefill), metrics(decode)
    print(f"  {count} requests, {count - len(wrong)} as they should be, {again} with a second prefill attempt")
    for label, before, after in (("prefill", start_prefill, end_prefill), ("decode", start_decode, end_decode)):
        sources = ("local_compute", "local_cache_hit", "external_kv_transfer")
        counts = ", ".join(f"{s} {difference(before, after, f'vllm:prompt_tokens_by_source_total/{s}')}" for s in sources)
        print(f"  {label}: vllm:prompt_tokens_by_source_total: {counts}; vllm:request_success_total: {difference(before, after, 'vllm:request_success_total')}")
    transfers = difference(start_decode, end_decode, "vllm:nixl_xfer_time_seconds_count")
    size = difference(start_decode, end_decode, "vllm:nixl_bytes_transferred_sum")
    expired = difference(start_prefill, end_prefill, "vllm:nixl_num_kv_expired_reqs_total")
    print(f"  NIXL: {transfers} transfers, {size} bytes; {expired} prefills expired")
    for line in get(picker, "/metrics").decode().splitlines():
        if re.match(r"apus_(legs_total|orchestration_events_total|prefill_attempts_(sum|count)|subrequests_in_flight)", line):
            print(f"  {line}")
    for text in wrong:
        print(f"  WRONG {text}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    if sys.argv[1] == "faulty":
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Faulty)
        print(f"listening 127.0.0.1:{server.server_address[1]}", flush=True)
        server.serve_forever()
    else:
        run(*sys.argv[2:])
