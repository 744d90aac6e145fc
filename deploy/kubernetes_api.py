"""A Kubernetes API as its administrator sees it, and a server of it on this machine: for deploy/kubernetes-check.py and deploy/kubernetes-record.py."""

import atexit
import base64
import json
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

HERE = pathlib.Path(__file__).parent
FOLDER = pathlib.Path(tempfile.mkdtemp())
PROGRAM = pathlib.Path(sys.argv[0]).stem
POOL_GROUP = "inference.networking.k8s.io"
processes = []


@atexit.register
def end():
    for process in reversed(processes):
        process.send_signal(signal.SIGCONT)
        process.kill()
    shutil.rmtree(FOLDER)


def start(*arguments, environment=None, log):
    output = open(FOLDER / log, "ab")
    process = subprocess.Popen(arguments, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    processes.append(process)
    return process


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def until(what, condition, seconds=60, pause=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    sys.exit(f"{PROGRAM}: error: not within {seconds} s: {what}")


class API:
    """The API as its administrator sees it."""

    def __init__(self, config, namespace):
        self.namespace = namespace
        # Of the cluster's own objects; those of the namespace go with it.
        self.made = []

        def named(kind, name):
            return next(item[kind[:-1]] for item in config[kind] if item["name"] == name)

        def data(entry, name):
            if text := entry.get(f"{name}-data"):
                return base64.b64decode(text).decode()
            return pathlib.Path(entry[name]).read_text() if entry.get(name) else None

        context = named("contexts", config["current-context"])
        self.cluster = named("clusters", context["cluster"])
        user = named("users", context["user"])
        self.headers = {"Authorization": "Bearer " + user["token"]} if user.get("token") else {}
        self.tls = ssl.create_default_context(cadata=data(self.cluster, "certificate-authority"))
        if self.cluster.get("insecure-skip-tls-verify"):
            self.tls = ssl._create_unverified_context()
        if certificate := data(user, "client-certificate"):
            (FOLDER / "client.pem").write_text(certificate + "\n" + data(user, "client-key"))
            self.tls.load_cert_chain(FOLDER / "client.pem")

    def ask(self, method, path, body=None, kind="application/json"):
        request = urllib.request.Request(self.cluster["server"].rstrip("/") + path, method=method)
        request.data = json.dumps(body).encode() if body is not None else None
        for name, value in {**self.headers, "Content-Type": kind}.items():
            request.add_header(name, value)
        try:
            with urllib.request.urlopen(request, context=self.tls, timeout=30) as answer:
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, urllib.error.URLError) as error:
            return 0, str(error)

    def must(self, method, path, body=None, kind="application/json"):
        status, answer = self.ask(method, path, body, kind)
        if not 200 <= status < 300 and status != 409:
            sys.exit(f"{PROGRAM}: error: {method} {path}: {status} {answer}")
        return answer

    def define(self, group, version, kind):
        plural = kind.lower() + "s"
        anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
        served = {"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
        metadata = {"name": f"{plural}.{group}", "annotations": {"api-approved.kubernetes.io": "unapproved, for a check"}}
        names = {"kind": kind, "plural": plural, "singular": kind.lower(), "listKind": kind + "List"}
        spec = {"group": group, "names": names, "scope": "Namespaced", "versions": [served]}
        self.must(
            "POST",
            "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
            {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": metadata, "spec": spec},
        )
        until(f"{plural} are known", lambda: self.ask("GET", self.path(group, version, plural))[0] == 200)

    def path(self, group, version, plural, name=""):
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        return f"{root}/namespaces/{self.namespace}/{plural}" + (f"/{name}" if name else "")

    def pods(self, name=""):
        return self.path("", "v1", "pods", name)

    def pod(self, name, address="127.0.0.1", is_ready=True, app="check", **metadata):
        spec = {"containers": [{"name": "vllm", "image": "vllm"}], "nodeName": "nowhere"}
        metadata = {"name": name, "labels": {"app": app}, **metadata}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        until(f"pod {name} is taken", lambda: self.ask("POST", self.pods(), pod)[0] in (201, 409))
        self.set_ready(name, is_ready, address)

    def set_ready(self, name, is_ready, address="127.0.0.1"):
        conditions = [{"type": "Ready", "status": str(is_ready)}]
        status = {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}], "conditions": conditions}
        self.must("PATCH", self.pods(name) + "/status", {"status": status}, "application/merge-patch+json")

    def delete_pod(self, name):
        self.must("DELETE", self.pods(name) + "?gracePeriodSeconds=0")

    def apply_permissions(self, *extra):
        """What deploy/kubernetes gives the picker, in our namespace."""
        text = "---\n".join((HERE / "kubernetes" / name).read_text() for name in ["serviceaccount.yaml", "rbac.yaml"])
        for item in [*yaml.safe_load_all(text), *extra]:
            if item is None:
                continue
            group, _, version = item["apiVersion"].rpartition("/")
            plural = item["kind"].lower() + "s"
            if "namespace" in item["metadata"]:
                item["metadata"]["namespace"] = self.namespace
                path = self.path(group, version, plural)
            else:
                item["metadata"]["name"] = f"{self.namespace}-{item['metadata']['name']}"
                path = f"/apis/{group}/{version}/{plural}"
                if item["kind"].endswith("Binding"):
                    item["roleRef"]["name"] = f"{self.namespace}-{item['roleRef']['name']}"
            for subject in item.get("subjects", []):
                subject["namespace"] = self.namespace
            self.must("POST", path, item)
            if "namespace" not in item["metadata"]:
                self.made.append(f"{path}/{item['metadata']['name']}")

    def clean_up(self):
        for path in [*self.made, f"/api/v1/namespaces/{self.namespace}"]:
            self.ask("DELETE", path)

    def token(self, account):
        path = self.path("", "v1", "serviceaccounts", account) + "/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return self.must("POST", path, request)["status"]["token"]


class Server:
    """An API server of our own, over an etcd of our own, on the loopback interface."""

    def __init__(self, program, etcd, *flags):
        self.program, self.flags, self.port, self.etcd = program, flags, free_port(), free_port()
        urls = [f"--listen-client-urls=http://127.0.0.1:{self.etcd}", f"--advertise-client-urls=http://127.0.0.1:{self.etcd}"]
        start(etcd, f"--data-dir={FOLDER}/etcd", *urls, f"--listen-peer-urls=http://127.0.0.1:{free_port()}", log="etcd.log")
        subprocess.run(["openssl", "genrsa", "-out", FOLDER / "key", "2048"], check=True, stderr=subprocess.DEVNULL)
        (FOLDER / "tokens").write_text('admin,admin,1,"system:masters"\n')
        self.start()

    def start(self):
        issuer = "https://kubernetes.default.svc"
        self.process = start(
            self.program,
            f"--etcd-servers=http://127.0.0.1:{self.etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self.port}",
            f"--cert-dir={FOLDER}/certificates",
            f"--service-account-issuer={issuer}",
            f"--api-audiences={issuer}",
            f"--service-account-signing-key-file={FOLDER}/key",
            f"--service-account-key-file={FOLDER}/key",
            f"--token-auth-file={FOLDER}/tokens",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.96.0.0/16",
            *self.flags,
            log="apiserver.log",
        )

    def forget(self):
        """Makes all versions so far too old: the server's next start knows only what is."""
        for _ in range(10):
            version = self.store("put", {"key": base64.b64encode(b"apus-check").decode(), "value": ""})["header"]["revision"]
        self.store("compaction", {"revision": version})

    def store(self, action, body):
        path = f"http://127.0.0.1:{self.etcd}/v3/kv/{action}"
        with urllib.request.urlopen(path, json.dumps(body).encode(), timeout=10) as answer:
            return json.loads(answer.read())

    def config(self):
        certificate = FOLDER / "certificates/apiserver.crt"
        until("the server has a certificate", certificate.exists)
        # Its authority's certificate is in the same file.
        cluster = {"server": f"https://127.0.0.1:{self.port}", "certificate-authority": str(certificate)}
        return {
            "current-context": "own",
            "contexts": [{"name": "own", "context": {"cluster": "own", "user": "admin"}}],
            "clusters": [{"name": "own", "cluster": cluster}],
            "users": [{"name": "admin", "user": {"token": "admin"}}],
        }
