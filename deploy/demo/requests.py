"""The demo's client: sends OpenAI requests through Envoy and shows, for each, where Apus sent it and why.

    requests.py listener ADMIN             prints the port of Envoy's listener
    requests.py run ENVOY METRICS MODEL    sends the requests and prints the table

Needs nothing beyond Python's own library.
"""

import concurrent.futures
import http.client
import json
import sys
import time

FAMILIES = {
    "contract": "You are a lawyer. Read this contract clause by clause and answer briefly. ",
    "support": "You are a friendly support agent of a telephone company. Known issues follow. ",
    "novel": "You are an editor. Keep the style of the chapters below when you continue. ",
}
SHORT_NAMES = {
    "prefill-cost-scorer": "prefill cost",
}


def connect(address):
    host, port = address.rsplit(":", 1)
    return http.client.HTTPConnection(host, int(port), timeout=60)


def get(address, path):
    connection = connect(address)
    connection.request("GET", path)
    answer = connection.getresponse().read()
    connection.close()
    return answer


def send(envoy, model, request_id, system, question, stream):
    """Sends one chat completion. Returns its time to the first token and its cached prompt tokens."""
    body = {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        "max_tokens": 24,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    connection = connect(envoy)
    start = time.monotonic()
    headers = {"content-type": "application/json", "x-request-id": request_id}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    usage, first = {}, None
    if not stream or answer.status != 200:
        text = answer.read()
        first = time.monotonic() - start
        if answer.status != 200:
            sys.exit(f"demo: error: {answer.status} {text[:300]!r}")
        usage = json.loads(text).get("usage") or {}
    else:
        for line in answer:
            if not line.startswith(b"data: ") or line.startswith(b"data: [DONE]"):
                continue
            first = first or time.monotonic() - start
            usage = json.loads(line[6:]).get("usage") or usage
    connection.close()
    return first, (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def explain(metrics, request_ids):
    """What Apus says of its decisions, by request id."""
    decisions = json.loads(get(metrics, "/debug/decisions"))["decisions"]
    return {decision["requestId"]: decision for decision in decisions if decision["requestId"] in request_ids}


def print_row(label, request_id, decision, first, cached, stream):
    profile = decision["profiles"][-1]
    picked = profile["picked"][0]
    candidate = next(c for c in profile["candidates"] if c["endpoint"] == picked)
    scores = " ".join(f"{SHORT_NAMES.get(name, name)} {score:4.2f}" for name, score in candidate["scores"].items())
    kind = "stream" if stream else "json"
    # A plain answer comes all at once: its time is the whole request's.
    wait = f"{first * 1000:.0f} ms" if stream else f"({first * 1000:.0f} ms)"
    print(f"  {label:<14} {kind:<7} {picked:<16} {candidate['total']:5.2f}  {scores:<40} {cached:6d}  {wait:>9}")


def print_head(title):
    print(f"\n{title}")
    print(f"  {'prompt':<14} {'answer':<7} {'endpoint':<16} {'total':>5}  {'score by scorer':<40} {'cached':>6}  {'TTFT':>9}")


def run(envoy, metrics, model):
    wait_until_scraped(metrics)
    texts = {family: text * 60 for family, text in FAMILIES.items()}

    print_head("Three families of prompts, three rounds: the first finds every cache cold, the later ones go where the prefix is.")
    for turn in range(3):
        for number, (family, text) in enumerate(texts.items()):
            stream = (turn + number) % 2 == 0
            request_id = f"demo-{family}-{turn}"
            first, cached = send(envoy, model, request_id, text, f"Question {turn}: what matters most?", stream)
            time.sleep(0.12)  # two scrapes, so that the round shows the caches and not the load
            print_row(family, request_id, explain(metrics, {request_id})[request_id], first, cached, stream)

    count = 12
    print_head(f"{count} different prompts at the same moment, faster than any scrape: what is in flight counts at once, so they spread.")
    ids = [f"demo-burst-{number}" for number in range(count)]
    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        results = list(
            pool.map(
                lambda number: send(envoy, model, ids[number], f"Topic {number}. " * 80, "Say something.", True),
                range(count),
            )
        )
    decisions = explain(metrics, set(ids))
    for request_id, (first, cached) in zip(ids, results):
        print_row(request_id[5:], request_id, decisions[request_id], first, cached, True)

    spread = {}
    for decision in decisions.values():
        endpoint = decision["profiles"][-1]["picked"][0]
        spread[endpoint] = spread.get(endpoint, 0) + 1
    print("\n  (whole answer) where no tokens are streamed. The burst by endpoint:")
    print("  " + "   ".join(f"{endpoint} {'#' * amount} {amount}" for endpoint, amount in sorted(spread.items())))


def wait_until_scraped(metrics):
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        endpoints = json.loads(get(metrics, "/debug/endpoints"))["endpoints"]
        if endpoints and all(endpoint["fresh"] for endpoint in endpoints):
            return
        time.sleep(0.02)
    sys.exit("demo: error: Apus cannot scrape the model servers")


def listener(admin):
    name, address = get(admin, "/listeners").decode().splitlines()[0].split("::", 1)
    return address.rsplit(":", 1)[1]


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "listener":
        print(listener(*arguments))
    else:
        run(*arguments)
