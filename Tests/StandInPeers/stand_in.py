#!/usr/bin/env python3
"""Stands in for the programs that apus-bench compares Apus with, where these are not installed: the same start lines and paths, no thought.

apus-bench starts it as the Python of a peer's venv (APUS_PEERS names this directory), so that starting, waiting, loading, counting and
reporting are tested as they are with the peers themselves. It routes each request to the next server, or says that a worker is chosen.
"""

import argparse
import http.client
import itertools
import json
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

POLICIES = ["round_robin", "cache_aware"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Replies are written in pieces, which must not wait for each other.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def body(self):
        return self.rfile.read(int(self.headers.get("content-length", 0)))

    def answer(self, status, value):
        text = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


class Router(Handler):
    connections = threading.local()

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404, {})

    def do_POST(self):
        body = self.body()
        with self.server.lock:
            worker = next(self.server.turns)
        known = self.connections.__dict__
        if worker not in known:
            known[worker] = http.client.HTTPConnection(worker)
        connection = known[worker]
        connection.request("POST", self.path, body, {"content-type": self.headers.get("content-type", "")})
        reply = connection.getresponse()
        self.send_response(reply.status)
        self.send_header("content-type", reply.headers.get("content-type", ""))
        if reply.length is not None:
            self.send_header("content-length", str(reply.length))
            self.end_headers()
            self.wfile.write(reply.read())
            return
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        while piece := reply.read1(65536):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        self.wfile.write(b"0\r\n\r\n")


class Selection(Handler):
    def do_GET(self):
        self.answer(200 if self.path == "/workers" else 404, self.server.workers)

    def do_POST(self):
        try:
            value = json.loads(self.body())
        except ValueError:
            return self.answer(400, {"error": "no JSON"})
        if self.path == "/workers":
            with self.server.lock:
                self.server.workers.append(value["worker_id"])
            return self.answer(201, {})
        if self.path not in ("/select", "/select_and_reserve"):
            return self.answer(404, {})
        if not self.server.workers or not ("token_ids" in value or "block_hashes" in value):
            return self.answer(422, {"error": "nothing to choose by"})
        with self.server.lock:
            return self.answer(200, {"worker_id": next(self.server.turns)})


def serve(handler, host, port, **members):
    server = ThreadingHTTPServer((host, port), handler, bind_and_activate=False)
    server.daemon_threads = True
    server.request_queue_size = 1024
    server.lock = threading.Lock()
    server.__dict__.update(members)
    server.server_bind()
    server.server_activate()
    server.serve_forever()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-m", dest="module", required=True)
    module, rest = parser.parse_known_args()
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    if module.module == "dynamo.select_service":
        options.add_argument("--threads", type=int)
        given = options.parse_args(rest)
        serve(Selection, "127.0.0.1", given.port, workers=[], turns=itertools.count(1))
    elif module.module in ("vllm_router.launch_router", "sglang_router.launch_router"):
        options.add_argument("--policy", choices=POLICIES, required=True)
        options.add_argument("--log-level")
        options.add_argument("--host", required=True)
        options.add_argument("--prometheus-host")
        options.add_argument("--prometheus-port", type=int)
        options.add_argument("--worker-startup-check-interval", type=int)
        options.add_argument("--worker-urls", nargs="+", required=True)
        given = options.parse_args(rest)
        workers = [urllib.parse.urlsplit(url).netloc for url in given.worker_urls]
        serve(Router, given.host, given.port, turns=itertools.cycle(workers))
    else:
        sys.exit(f"there is no module {module.module}")


main()
