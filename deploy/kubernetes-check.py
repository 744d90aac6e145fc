#!/usr/bin/env python3
"""Checks Apus against a real Kubernetes API server: pools, pods, objectives, rewrites, permissions, the lease, metrics readers, an outage.

    deploy/kubernetes-check.py APUS                       the cluster that KUBECONFIG names, as its administrator
    deploy/kubernetes-check.py APUS KUBE_APISERVER ETCD   a server of its own, which is also stopped and started again

Makes a namespace, what deploy/kubernetes gives its permissions by, and, where they are missing, definitions of the custom resources; all but the
latter is taken away at the end. No container runs: the pods exist on paper, and Apus runs here, with the account and the permissions of deploy/kubernetes/rbac.yaml. Needs PyYAML.
APUS_CHECK_PODS: how many pods the last part makes (300); its figures mean something for a release build on a quiet machine.
"""

import atexit
import base64
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

import yaml

HERE = pathlib.Path(__file__).parent
NAMESPACE = "apus-check"
FOLDER = pathlib.Path(tempfile.mkdtemp())
POOL_GROUP = "inference.networking.k8s.io"
GROUPS = [POOL_GROUP, "inference.networking.x-k8s.io", "llm-d.ai"]
processes = []


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


def until(what, condition, seconds=60):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    sys.exit(f"kubernetes-check: error: not within {seconds} s: {what}")


def hold(what, condition):
    if not condition:
        sys.exit(f"kubernetes-check: error: {what}")
    print(f"kubernetes-check: {what}")


class API:
    """The API as its administrator sees it."""

    def __init__(self, config):
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
            sys.exit(f"kubernetes-check: error: {method} {path}: {status} {answer}")
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

    @staticmethod
    def path(group, version, plural, name=""):
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        return f"{root}/namespaces/{NAMESPACE}/{plural}" + (f"/{name}" if name else "")

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
                item["metadata"]["namespace"] = NAMESPACE
                path = self.path(group, version, plural)
            else:
                item["metadata"]["name"] = f"{NAMESPACE}-{item['metadata']['name']}"
                path = f"/apis/{group}/{version}/{plural}"
                if item["kind"].endswith("Binding"):
                    item["roleRef"]["name"] = f"{NAMESPACE}-{item['roleRef']['name']}"
            for subject in item.get("subjects", []):
                subject["namespace"] = NAMESPACE
            self.must("POST", path, item)
            if "namespace" not in item["metadata"]:
                self.made.append(f"{path}/{item['metadata']['name']}")

    def clean_up(self):
        for path in [*self.made, f"/api/v1/namespaces/{NAMESPACE}"]:
            self.ask("DELETE", path)

    def token(self, account):
        path = self.path("", "v1", "serviceaccounts", account) + "/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 3600}}
        return self.must("POST", path, request)["status"]["token"]


class Picker:
    """A running Apus, with the account `apus-epp`."""

    def __init__(self, program, kubeconfig, name, *flags):
        self.log = FOLDER / f"{name}.log"
        self.metrics = free_port()
        ports = [f"--grpc-port={free_port()}", f"--grpc-health-port={free_port()}", f"--metrics-port={self.metrics}"]
        everything = [*ports, "--bind-address=127.0.0.1", "--refresh-metrics-interval=1s", "--log-format=json", *flags]
        environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "NAMESPACE": NAMESPACE}
        self.process = start(program, *everything, environment=environment, log=self.log.name)
        until(f"{name} has its ports", lambda: self.get("/healthz")[0] == 200)

    def get(self, path, token=None):
        request = urllib.request.Request(f"http://127.0.0.1:{self.metrics}{path}")
        if token:
            request.add_header("Authorization", "Bearer " + token)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except (OSError, urllib.error.URLError):
            return 0, ""

    def names(self):
        status, text = self.get("/debug/endpoints")
        return sorted(endpoint["name"] for endpoint in json.loads(text)["endpoints"]) if status == 200 else None

    def said(self, text):
        return self.log.read_text().count(text)

    def count(self, name, kind):
        found = re.search(rf'^apus_kubernetes_{name}_total{{kind="{kind}"}} (\d+)', self.get("/metrics")[1], re.M)
        return int(found[1]) if found else 0

    def cpu_seconds(self):
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def megabytes(self):
        text = pathlib.Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) / 1024

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


class Server:
    """An API server of our own, over an etcd of our own, on the loopback interface."""

    def __init__(self, program, etcd):
        self.program, self.port, self.etcd = program, free_port(), free_port()
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
            "--disable-admission-plugins=ServiceAccount",
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


def main():
    atexit.register(end)
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    server = Server(*sys.argv[2:]) if len(sys.argv) == 4 else None
    if server:
        config = server.config()
    else:
        path = pathlib.Path(os.environ["KUBECONFIG"]).absolute()
        config = yaml.safe_load(path.read_text())
        for cluster in (item["cluster"] for item in config["clusters"]):
            if name := cluster.get("certificate-authority"):
                cluster["certificate-authority"] = str(path.parent / name)
    api = API(config)
    until("the API server answers", lambda: api.ask("GET", "/api/v1")[0] == 200)
    version = api.must("GET", "/version")["gitVersion"]
    print(f"kubernetes-check: Kubernetes {version}")
    api.must("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    if not server:
        atexit.register(api.clean_up)
    stranger = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "stranger", "namespace": ""}}
    reader = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader", "namespace": ""}}
    api.apply_permissions(stranger, reader)
    token_file = FOLDER / "token"
    token_file.write_text("expired")
    config["users"] = [{"name": "picker", "user": {"tokenFile": "token"}}]
    context = next(c for c in config["contexts"] if c["name"] == config["current-context"])["context"]
    context["user"] = "picker"
    if server:
        # The same server under a name that its certificate does not have.
        api.cluster.update({"server": f"https://localhost:{server.port}", "tls-server-name": "kubernetes"})
    kubeconfig = FOLDER / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(config))
    if server:
        api.cluster["server"] = f"https://127.0.0.1:{server.port}"

    # Who we are: a token that is none, and then the account's.
    picker = Picker(program, kubeconfig, "picker", "--pool-name=apus", "--metrics-endpoint-auth=false")
    until("a wrong token is noticed", lambda: picker.said("401"))
    token_file.write_text(api.token("apus-epp"))
    until("the kind is known to be missing", lambda: picker.said("no such InferencePool"), 90)
    hold("a token that does not count is replaced by the file's next one; without its pool Apus is not ready", picker.get("/readyz")[0] == 503)

    # Endpoints.
    have = [api.ask("GET", api.path(group, "v1alpha2", "inferenceobjectives"))[0] == 200 for group in GROUPS[1:]]
    if api.ask("GET", api.path(POOL_GROUP, "v1", "inferencepools"))[0] != 200:
        api.define(POOL_GROUP, "v1", "InferencePool")
    pools = api.path(POOL_GROUP, "v1", "inferencepools")
    reference = {"name": "apus-epp", "port": {"number": 9002}}
    spec = {"selector": {"matchLabels": {"app": "check"}}, "targetPorts": [{"number": 8000}], "endpointPickerRef": reference}
    pool = {"apiVersion": f"{POOL_GROUP}/v1", "kind": "InferencePool", "metadata": {"name": "apus"}, "spec": spec}
    api.pod("a")
    api.pod("b", "127.0.0.2", is_ready=False)
    api.pod("c", app="other")
    api.must("POST", pools, pool)
    until("the pool is found", lambda: picker.names() == ["a-rank-0"], 90)
    api.set_ready("b", True, "127.0.0.2")
    until("a pod that gets ready is an endpoint", lambda: picker.names() == ["a-rank-0", "b-rank-0"])
    api.set_ready("a", False)
    until("one that is not ready is none", lambda: picker.names() == ["b-rank-0"])
    api.set_ready("a", True)
    patch = "application/merge-patch+json"
    api.must("PATCH", api.pods("c"), {"metadata": {"labels": {"app": "check"}}}, patch)
    until("one that the selector finds later is one", lambda: picker.names() == ["a-rank-0", "b-rank-0", "c-rank-0"])
    api.must("PATCH", api.pods("c"), {"metadata": {"labels": {"app": "other"}}}, patch)
    until("and none when it is found no more", lambda: picker.names() == ["a-rank-0", "b-rank-0"])
    api.must("PATCH", f"{pools}/apus", {"spec": {"targetPorts": [{"number": 8000}, {"number": 8001}]}}, patch)
    until("each port is an endpoint", lambda: len(picker.names()) == 4)
    api.must("PATCH", api.pods("a"), {"metadata": {"annotations": {f"{POOL_GROUP}/active-ports": "8001"}}}, patch)
    until("an annotation names the ports", lambda: picker.names() == ["a-rank-1", "b-rank-0", "b-rank-1"])
    api.delete_pod("b")
    until("a pod that is gone is none", lambda: picker.names() == ["a-rank-1"])
    hold("endpoints follow pods, their labels and annotations, and the pool's ports, without a second list", picker.count("lists", "pods") == 1)

    # Kinds that come later.
    for group, had in zip(GROUPS[1:], have):
        if not had:
            api.define(group, "v1alpha2", "InferenceObjective")
            api.define(group, "v1alpha2", "InferenceModelRewrite")
        spec = {"priority": 2, "poolRef": {"name": "apus", "group": POOL_GROUP, "kind": "InferencePool"}}
        objective = {"apiVersion": f"{group}/v1alpha2", "kind": "InferenceObjective", "metadata": {"name": f"o-{group}"}, "spec": spec}
        api.must("POST", api.path(group, "v1alpha2", "inferenceobjectives"), objective)
        match = {"model": {"type": "Exact", "value": f"old-{group}"}}
        spec = {"poolRef": spec["poolRef"], "rules": [{"matches": [match], "targets": [{"modelRewrite": "new", "weight": 1}]}]}
        rewrite = {"apiVersion": f"{group}/v1alpha2", "kind": "InferenceModelRewrite", "metadata": {"name": f"r-{group}"}, "spec": spec}
        api.must("POST", api.path(group, "v1alpha2", "inferencemodelrewrites"), rewrite)

    def known():
        page = json.loads(picker.get("/debug/config")[1])
        return len(page["objectives"]) == 2 and len(page["modelRewrites"]) == 2

    until("objectives and rewrites of both groups are known", known, 120)
    hold("objectives and rewrites are found, though their kinds may come later than Apus", True)
    picker.stop()

    # Who reads metrics.
    binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding", "metadata": {"name": f"{NAMESPACE}-reader"}}
    binding["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": f"{NAMESPACE}-default-apus-epp-metrics-reader"}
    binding["subjects"] = [{"kind": "ServiceAccount", "name": "reader", "namespace": NAMESPACE}]
    api.must("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", binding)
    api.made.append(f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{NAMESPACE}-reader")
    picker = Picker(program, kubeconfig, "reviewer", "--pool-name=apus", "--metrics-endpoint-auth")
    tokens = [None, "nonsense", api.token("stranger"), api.token("reader")]
    answers = [picker.get("/metrics", token)[0] for token in tokens]
    hold(f"without a token, with a wrong one, a stranger's and a reader's, /metrics answers {answers}", answers == [401, 401, 403, 200])
    picker.stop()

    # The lease.
    rule = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "verbs": ["create", "get", "update"]}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "lease"}, "rules": [rule]}
    roles = api.path("rbac.authorization.k8s.io", "v1", "roles")
    api.must("POST", roles, role)
    bound = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "lease"}}
    bound["roleRef"] = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lease"}
    bound["subjects"] = [{"kind": "ServiceAccount", "name": "apus-epp", "namespace": NAMESPACE}]
    api.must("POST", api.path("rbac.authorization.k8s.io", "v1", "rolebindings"), bound)
    flags = ["--pool-name=apus", "--ha-enable-leader-election", "--metrics-endpoint-auth=false"]
    first = Picker(program, kubeconfig, "first", *flags)
    until("the first leads", lambda: first.get("/readyz")[0] == 200)
    second = Picker(program, kubeconfig, "second", *flags)
    until("the second stands by", lambda: second.said("standing by"))
    until("with a warm pool", lambda: second.names() == ["a-rank-1"])
    path = api.path("coordination.k8s.io", "v1", "leases", f"epp-{NAMESPACE}-apus.gateway-api-inference-extension.sigs.k8s.io")
    lease = api.must("GET", path)["spec"]
    hold(f"one leads, the other one stands by: {lease}", second.get("/readyz")[0] == 503 and lease["leaseTransitions"] == 0)
    begin = time.monotonic()
    first.stop()
    until("the second leads", lambda: second.get("/readyz")[0] == 200)
    lease = api.must("GET", path)["spec"]
    hold(f"after an orderly end the other one leads {time.monotonic() - begin:.1f} s later", lease["leaseTransitions"] == 1)
    second.stop()
    hold("the last one leaves the lease to nobody", "holderIdentity" not in api.must("GET", path)["spec"])

    # Many pods, and an outage.
    api.must("PATCH", f"{pools}/apus", {"spec": {"targetPorts": [{"number": 8000}]}}, patch)
    api.must("PATCH", api.pods("a"), {"metadata": {"annotations": {f"{POOL_GROUP}/active-ports": None}}}, patch)
    flags = ["--pool-name=apus", "--metrics-endpoint-auth=false", "--refresh-metrics-interval=10m"]
    picker = Picker(program, kubeconfig, "few", *flags)
    until("the pool is found", lambda: picker.names() == ["a-rank-0"])
    time.sleep(1)
    cpu, memory = picker.cpu_seconds(), picker.megabytes()
    many = int(os.environ.get("APUS_CHECK_PODS", 300))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda i: api.pod(f"m-{i}", f"127.1.{i // 200}.{i % 200 + 1}"), range(many)))
    until(f"{many} pods are endpoints", lambda: len(picker.names()) == many + 1, 120)
    picker.stop()
    picker = Picker(program, kubeconfig, "many", *flags)
    until("all pods are listed", lambda: picker.said(f'"count":{many + 1}'))
    cpu, memory = picker.cpu_seconds() - cpu, picker.megabytes() - memory
    print(f"kubernetes-check: a list of {many} pods: {cpu:.2f} s of CPU, {memory:.0f} MB of memory")
    delays = []
    for turn in range(20):
        # Changes that follow closely are logged together.
        time.sleep(1.5)
        lines = picker.said("endpoints changed")
        api.set_ready("m-7", turn % 2 == 1, "127.1.0.8")
        answered = time.time()
        until("a change is seen", lambda: picker.said("endpoints changed") > lines)
        line = [line for line in picker.log.read_text().splitlines() if "endpoints changed" in line][-1]
        delays.append((datetime.datetime.fromisoformat(json.loads(line)["time"]).timestamp() - answered) * 1000)
    spread = f"{min(delays):.0f} to {max(delays):.0f} ms (median {statistics.median(delays):.0f})"
    print(f"kubernetes-check: a pod's change takes effect {spread} after the API's answer to it")
    # Kept for what follows: a list would bring back what an event got wrong.
    lists = picker.count("lists", "pods")
    if server:
        server.process.kill()
        server.process.wait()
        until("the outage is noticed", lambda: picker.said("what is known stays"))
        hold("while the API server is away the endpoints stay", len(picker.names()) == many + 1 and picker.get("/readyz")[0] == 200)
        server.forget()
        server.start()
        until("the API server is back", lambda: api.ask("GET", "/api/v1")[0] == 200)
        api.pod("late", "127.2.0.1")
        until("what came later is seen", lambda: "late-rank-0" in picker.names(), 120)
        hold("when it is back, and has forgotten what was before, all is listed anew", picker.count("lists", "pods") > lists)
        hold("the pool was there all the time", picker.said("there is no such InferencePool") == 0)
    picker.stop()
    print("kubernetes-check: all of it holds")


main()
