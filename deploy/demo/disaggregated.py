"""The demo's client for separate prefill and decode servers: sends OpenAI requests through Envoy, has a prefill server killed and started
again meanwhile, and shows what Apus did.

    disaggregated.py ENVOY METRICS MODEL ENDPOINTS    ENDPOINTS: NAME=IP:PORT, with commas between

Whoever started it does on its servers what it writes to file descriptor 3: `kill NAME`, `start NAME`.
Needs nothing beyond Python's own library. Its status is 1 when a client saw an error.
"""

import datetime
import json
import os
import re
import sys
import threading
import time

from requests import FAMILIES, connect, get, wait_until_scraped  # The file beside this one.

CLIENTS = 24
TEXT = 60  # Repetitions of a family's sentence.
ON_TERMINAL = sys.stdout.isatty()
COLOURS = {"red": 31, "green": 32, "yellow": 33, "dim": 2, "bold": 1}


def paint(text, colour):
    if not colour or not ON_TERMINAL or "NO_COLOR" in os.environ:
        return text
    return f"\033[{COLOURS[colour]}m{text}\033[0m"


def head(title):
    print("\n" + paint(title, "bold"))


class Answer:
    """One request, as its client saw it. Times are of the monotonic clock."""

    def __init__(self, request_id, stream):
        self.request_id, self.stream = request_id, stream
        self.began = time.monotonic()
        self.first = self.ended = None
        self.error = None
        self.attempts = None
        self.usage = {}

    @property
    def cached(self):
        return (self.usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0


def ask(envoy, model, request_id, system, question, stream, tokens):
    answer = Answer(request_id, stream)
    body = {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        "max_tokens": tokens,
    }
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    try:
        connection = connect(envoy)
        headers = {"content-type": "application/json", "x-request-id": request_id}
        connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
        response = connection.getresponse()
        answer.attempts = response.headers.get("x-apus-attempts")
        if response.status != 200:
            answer.error = f"{response.status} {response.read()[:300].decode(errors='replace')}"
        elif stream:
            read_events(response, answer)
        else:
            answer.usage = json.loads(response.read()).get("usage") or {}
            answer.first = time.monotonic()
        connection.close()
    except Exception as error:
        answer.error = f"{type(error).__name__}: {error}"
    answer.ended = time.monotonic()
    return answer


def read_events(response, answer):
    is_done = False
    for line in response:
        if not line.startswith(b"data: "):
            continue
        answer.first = answer.first or time.monotonic()
        if line.startswith(b"data: [DONE]"):
            is_done = True
            continue
        event = json.loads(line[6:])
        if "error" in event:
            answer.error = str(event["error"])
        answer.usage = event.get("usage") or answer.usage
    if not is_done and not answer.error:
        answer.error = "the stream ended before [DONE]"


class Picker:
    """What Apus says of itself on its metrics port."""

    def __init__(self, address, names):
        self.address, self.names = address, names
        self.decisions = {}
        self.lock = threading.Lock()

    def name(self, endpoint):
        return self.names.get(endpoint, endpoint)

    def endpoints(self):
        answer = json.loads(get(self.address, "/debug/endpoints"))["endpoints"]
        return {endpoint["name"]: endpoint for endpoint in answer}

    def collect(self):
        """Keeps the latest decisions, of which Apus itself keeps 256."""
        latest = json.loads(get(self.address, "/debug/decisions"))["decisions"]
        with self.lock:
            self.decisions |= {decision["requestId"]: decision for decision in latest}

    def decision(self, request_id):
        """A request's decision, once its decode has been reported, which is a moment after its answer ended."""
        for _ in range(100):
            self.collect()
            decision = self.decisions.get(request_id)
            if decision and (not decision["legs"] or decision["legs"][-1]["leg"] == "decode"):
                return decision
            time.sleep(0.02)
        sys.exit(f"demo: error: /debug/decisions has no legs of {request_id}")


def when(text):
    """Seconds since 1970."""
    text, fraction = re.match(r"([^.Z]*)(\.\d+)?", text).groups()
    parsed = datetime.datetime.strptime(text, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=datetime.timezone.utc)
    return parsed.timestamp() + float(fraction or 0)


def leg_text(picker, leg):
    outcome = leg["outcome"]
    text = f"{picker.name(leg['endpoint']):<10}"
    text += "" if outcome == "ok" else f" {outcome}"
    return f"{text:<24} {leg['seconds'] * 1000:5.0f} ms", None if outcome == "ok" else "red"


# MARK: One after the other


def walk(envoy, picker, model):
    head("One after the other: who computes the prompt, and who goes on from there.")
    print(f"  {'prompt':<16} {'answer':<7} {'prefill':<20} {'decode':<20} {'attempts':>8} {'cached':>7} {'TTFT':>9}")
    plan = [(family, f"demo-{family}", FAMILIES[family] * TEXT, "What matters most?") for family in FAMILIES]
    plan += [(f"{family}, again", f"demo-{family}-again", FAMILIES[family] * TEXT, "And then?") for family in FAMILIES]
    plan += [("a short one", "demo-short", "Answer briefly.", "Hello!")]
    first_trail = None
    for number, (label, request_id, system, question) in enumerate(plan):
        stream = number % 2 == 0
        answer = ask(envoy, model, request_id, system, question, stream, 24)
        if answer.error:
            sys.exit(f"demo: error: {label}: {answer.error}")
        decision = picker.decision(request_id)
        legs = {leg["leg"]: leg for leg in decision["legs"]}
        cells = []
        for stage in ("prefill", "decode"):
            leg = legs.get(stage)
            if leg:
                cells.append(f"{picker.name(leg['endpoint']):<10} {leg['seconds'] * 1000:4.0f} ms")
            elif stage == "decode":
                cells.append(f"{picker.name(decision['profiles'][-1]['picked'][0]):<10} all")
            else:
                cells.append("–")
        first = (answer.first - answer.began) * 1000
        wait = f"{first:.0f} ms" if stream else f"({first:.0f} ms)"
        kind = "stream" if stream else "json"
        attempts = answer.attempts or "–"
        print(f"  {label:<16} {kind:<7} {cells[0]:<20} {cells[1]:<20} {attempts:>8} {answer.cached:7d} {wait:>9}")
        first_trail = first_trail or decision["checkpoints"]
    print("  (whole answer) where no tokens are streamed. What the decode server has cached, and what is short, it computes by itself.")
    start = when(first_trail[0]["at"])
    steps = [f"{point['name']} {(when(point['at']) - start) * 1000:.1f} ms" for point in first_trail]
    print("  Checkpoints of the first: " + " → ".join(steps))


# MARK: Under load


class Load:
    """Clients that send one request after the other, each with a prompt that nobody has seen."""

    def __init__(self, envoy, model):
        self.envoy, self.model = envoy, model
        self.answers = []
        self.lock = threading.Lock()
        self.is_over = False
        self.began = time.monotonic()
        self.threads = [threading.Thread(target=self.run, args=(client,), daemon=True) for client in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def run(self, client):
        number = 0
        texts = list(FAMILIES.values())
        while not self.is_over:
            number += 1
            name = f"load-{client:02d}-{number:03d}"
            text = f"Case {name}. " + texts[client % len(texts)] * TEXT
            answer = ask(self.envoy, self.model, name, text, "What matters most?", number % 2 == 0, 16)
            with self.lock:
                self.answers.append(answer)

    def stop(self):
        self.is_over = True
        for thread in self.threads:
            thread.join()

    def progress(self):
        with self.lock:
            answers = list(self.answers)
        again = sum(answer.attempts not in (None, "0", "1") for answer in answers)
        errors = sum(answer.error is not None for answer in answers)
        return len(answers), again, errors

    @property
    def now(self):
        return time.monotonic() - self.began


class Timeline:
    """Prints what happens, and on a terminal below it how far the load has come."""

    def __init__(self, load):
        self.load = load

    def say(self, text, colour=None):
        clear = "\r\033[K" if ON_TERMINAL else ""
        print(f"{clear}  {self.load.now:5.1f} s  {paint(text, colour)}", flush=True)
        self.show()

    def show(self):
        if not ON_TERMINAL:
            return
        answered, again, errors = self.load.progress()
        text = f"{answered} answered, {again} with a second prefill, {errors} errors"
        print(f"\r\033[K  {self.load.now:5.1f} s  {paint(text, 'dim')}", end="", flush=True)

    def end(self):
        if ON_TERMINAL:
            print("\r\033[K", end="", flush=True)


def command(verb, name):
    os.write(3, f"{verb} {name}\n".encode())


class Observer:
    """Looks at Apus while something happens."""

    def __init__(self, picker, timeline):
        self.picker, self.timeline = picker, timeline
        self.collected = 0

    def until(self, limit, condition):
        """Waits for it to be true of the endpoints; false when the seconds are over."""
        deadline = time.monotonic() + limit
        while True:
            endpoints = self.picker.endpoints()
            if condition(endpoints):
                return True
            if time.monotonic() >= deadline:
                return False
            self.timeline.show()
            if time.monotonic() - self.collected > 0.5:
                self.picker.collect()
                self.collected = time.monotonic()
            time.sleep(0.01)

    def wait(self, seconds):
        self.until(seconds, lambda _: False)

    def breaker(self, name, states, limit):
        """Waits until the breaker is in one of the states, and says so."""
        if not self.until(limit, lambda endpoints: endpoints[name]["breaker"] in states):
            self.timeline.say(f"{name}: its breaker is {self.picker.endpoints()[name]['breaker']} still", "red")
            return
        state = self.picker.endpoints()[name]["breaker"]
        words = {
            "open": "open: no prefill goes there",
            "half-open": "half-open: one request may try",
            "closed": "closed: it takes its share again",
        }
        self.timeline.say(f"{name}: breaker {words.get(state, state)}", {"closed": "green"}.get(state, "yellow"))


def disturb(load, picker):
    timeline = Timeline(load)
    observer = Observer(picker, timeline)
    timeline.say(f"{CLIENTS} clients begin, each with one request after the other")
    observer.wait(2)

    # The one that is killed has work, so that there is something to lose.
    def busiest(endpoints):
        prefills = {name: e for name, e in endpoints.items() if name.startswith("prefill")}
        return max(prefills, key=lambda name: prefills[name]["inFlight"]["requests"])

    observer.until(3, lambda endpoints: endpoints[busiest(endpoints)]["inFlight"]["requests"] >= 5)
    endpoints = picker.endpoints()
    victim = busiest(endpoints)
    command("kill", victim)
    killed = load.now
    lost = endpoints[victim]["inFlight"]["requests"]
    timeline.say(f"{victim} is killed (SIGKILL), with {lost} prefills under way there", "red")
    observer.breaker(victim, ("open",), 3)
    observer.breaker(victim, ("half-open",), 8)
    observer.wait(0.5)
    command("start", victim)
    started = load.now
    timeline.say(f"{victim} is started again on the same port", "green")
    observer.breaker(victim, ("closed",), 5)
    observer.wait(2)
    timeline.say("the clients stop")
    load.stop()
    timeline.end()
    # What is reported of the last decodes comes a moment after their answers.
    time.sleep(0.2)
    picker.collect()
    return victim, killed, started


def wall_offset(load):
    """When the load began, in the time that Apus tells."""
    return time.time() - time.monotonic() + load.began


def show_reselected(load, picker, victim, started):
    rows = []
    for answer in load.answers:
        decision = picker.decisions.get(answer.request_id)
        prefills = [leg for leg in decision["legs"] if leg["leg"] == "prefill"] if decision else []
        if len(prefills) > 1:
            rows.append((answer, decision, prefills))
    rows.sort(key=lambda row: row[0].began)
    head(f"Prefills that were lost with {victim}: another endpoint at once, with the load as it is then.")
    if not rows:
        print("  none")
    else:
        print(f"  {'request':<12} {'answer':<7} {'first prefill':<33} {'second prefill':<33} {'decode':<33} {'client':>7}")
    for answer, decision, prefills in rows[:12]:
        legs = prefills[:2] + [leg for leg in decision["legs"] if leg["leg"] == "decode"][-1:]
        cells = [leg_text(picker, leg) for leg in legs]
        cells = " ".join(paint(f"{text:<33}", colour) for text, colour in cells)
        outcome = paint("error", "red") if answer.error else paint("200", "green")
        kind = "stream" if answer.stream else "json"
        print(f"  {answer.request_id:<12} {kind:<7} {cells} {' ' * (7 - len('error' if answer.error else '200'))}{outcome}")
    if len(rows) > 12:
        print(f"  … and {len(rows) - 12} more")
    gaps = [
        when(points[1]["at"]) - when(points[0]["at"]) - prefills[0]["seconds"]
        for _, decision, prefills in rows
        if len(points := [p for p in decision["checkpoints"] if p["name"] == "PREFILL_SELECTED"]) > 1
    ]
    if gaps:
        print(f"  From the failure to the next attempt: {max(max(gaps), 0) * 1000:.1f} ms at most.")
    offset = wall_offset(load)
    tries = sorted(
        (when(decision["time"]) - offset, answer.request_id)
        for answer in load.answers
        if (decision := picker.decisions.get(answer.request_id))
        and when(decision["time"]) - offset >= started - 0.2
        and any(leg["leg"] == "prefill" and picker.name(leg["endpoint"]) == victim and leg["outcome"] == "ok" for leg in decision["legs"])
    )
    if tries:
        print(f"  The one that tried it after the restart: {tries[0][1]}, at {tries[0][0]:.1f} s.")
    return len(rows)


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else 0


def show_phases(load, picker, victim, killed, started):
    head("What clients saw.")
    columns = ["requests", "errors", "second prefill", "to first token, p50", "p99", f"prefills on {victim}"]
    print("  " + " " * 24 + "  ".join(columns))
    phases = [("before", 0, killed), (f"without {victim}", killed, started), ("after its return", started, 1e9)]
    offset = wall_offset(load)
    finished = [
        when(point["at"]) - offset
        for decision in picker.decisions.values()
        if decision["requestId"].startswith("load-")
        and any(leg["leg"] == "prefill" and leg["outcome"] == "ok" and picker.name(leg["endpoint"]) == victim for leg in decision["legs"])
        for point in decision["checkpoints"]
        if point["name"] == "PREFILL_COMPLETE"
    ]
    for label, begin, end in phases:
        answers = [a for a in load.answers if begin <= a.ended - load.began < end]
        errors = sum(a.error is not None for a in answers)
        again = sum(a.attempts not in (None, "0", "1") for a in answers)
        waits = [a.first - a.began for a in answers if a.stream and a.first]
        share = sum(begin <= done < end for done in finished)
        values = [len(answers), errors, again, f"{percentile(waits, 0.5):.0f} ms", f"{percentile(waits, 0.99):.0f} ms", share]
        cells = [f"{value!s:>{len(column)}}" for value, column in zip(values, columns)]
        if errors:
            cells[1] = paint(cells[1], "red")
        print(f"  {label:<22}  " + "  ".join(cells))


def sources(addresses):
    """Where the prompt tokens of servers came from, by their own count."""
    counts = {}
    for address in addresses:
        for line in get(address, "/metrics").decode().splitlines():
            match = re.match(r'vllm:prompt_tokens_by_source(?:_total)?\{.*source="([^"]+)".*\} ([0-9.e+]+)', line)
            if match:
                counts[match[1]] = counts.get(match[1], 0) + float(match[2])
    return counts


def main(envoy, metrics, model, endpoints):
    addresses = dict(pair.split("=") for pair in endpoints.split(","))
    picker = Picker(metrics, {address: name for name, address in addresses.items()})
    wait_until_scraped(metrics)
    walk(envoy, picker, model)

    head("Under load: a prefill server is killed and comes back.")
    load = Load(envoy, model)
    victim, killed, started = disturb(load, picker)
    again = show_reselected(load, picker, victim, started)
    show_phases(load, picker, victim, killed, started)

    counts = sources(address for name, address in addresses.items() if name.startswith("decode"))
    whole = sum(counts.values()) or 1
    parts = ", ".join(f"{name} {100 * count / whole:.1f} %" for name, count in sorted(counts.items()) if count)
    print(f"  Where the decode servers got their prompt tokens from: {parts}")

    failed = [answer for answer in load.answers if answer.error]
    for answer in failed[:5]:
        print(f"  {paint('error', 'red')} {answer.request_id}: {answer.error}")
    summary = f"{len(load.answers)} requests, {len(failed)} errors, {again} prefills chosen anew, {victim} down for {started - killed:.1f} s"
    print("\n" + paint(summary, "red" if failed else "green"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main(*sys.argv[1:])
