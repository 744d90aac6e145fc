#!/usr/bin/env python3
"""Checks Apus against a real Kubernetes API server: pools, pods, objectives, rewrites, permissions, the lease, metrics readers, an outage.

    deploy/kubernetes-check.py APUS                       the cluster that KUBECONFIG names, as its administrator
    deploy/kubernetes-check.py APUS KUBE_APISERVER ETCD   a server of its own, which is also stopped and started again

Makes a namespace, what deploy/kubernetes gives its permissions by, and, where they are missing, definitions of the custom resources; all but the
latter is taken away at the end. No container runs: the pods exist on paper, and Apus runs here, with the account and the permissions of deploy/kubernetes/rbac.yaml. Needs PyYAML.
APUS_CHECK_PODS: how many pods the last part makes (300); its figures mean something for a release build on a quiet machine.
"""

import atexit
import concurrent.futures
import datetime
import json
import os
import pathlib
import re
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import yaml

from kubernetes_api import API, FOLDER, POOL_GROUP, Server, free_port, start, until

NAMESPACE = "apus-check"
CHANGES = 120
GROUPS = [POOL_GROUP, "inference.networking.x-k8s.io", "llm-d.ai"]


def hold(what, condition):
    if not condition:
        sys.exit(f"kubernetes-check: error: {what}")
    print(f"kubernetes-check: {what}")


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

    def lines(self, text):
        """The log's lines with this text so far; goes on with later ones when asked again."""
        with open(self.log) as log:
            rest = ""
            while True:
                rest += log.readline()
                if not rest.endswith("\n"):
                    yield None
                    continue
                if text in rest:
                    yield json.loads(rest)
                rest = ""

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


class Watch:
    """When events of one object arrive at an ordinary client."""

    def __init__(self, api, path):
        self.times = []
        version = api.must("GET", path)["metadata"]["resourceVersion"]
        collection, _, name = path.rpartition("/")
        query = urllib.parse.urlencode({"watch": "true", "fieldSelector": f"metadata.name={name}", "resourceVersion": version})
        request = urllib.request.Request(f"{api.cluster['server']}{collection}?{query}", headers=api.headers)
        self.answer = urllib.request.urlopen(request, context=api.tls)
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while self.answer.readline():
            self.times.append(time.time())


def main():
    if len(sys.argv) not in (2, 4):
        sys.exit(__doc__)
    program = os.path.abspath(sys.argv[1])
    server = Server(*sys.argv[2:], "--disable-admission-plugins=ServiceAccount") if len(sys.argv) == 4 else None
    if server:
        config = server.config()
    else:
        path = pathlib.Path(os.environ["KUBECONFIG"]).absolute()
        config = yaml.safe_load(path.read_text())
        for cluster in (item["cluster"] for item in config["clusters"]):
            if name := cluster.get("certificate-authority"):
                cluster["certificate-authority"] = str(path.parent / name)
    api = API(config, NAMESPACE)
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

    # The same pods by their labels.
    flags = ["--endpoint-target-ports=8000,8001", "--metrics-endpoint-auth=false"]
    selecting = Picker(program, kubeconfig, "selecting", "--endpoint-selector=app in (check,other),tier!=batch", *flags)
    until("a selector finds pods", lambda: selecting.names() == ["a-rank-1", "c-rank-0", "c-rank-1"])
    api.must("PATCH", api.pods("c"), {"metadata": {"labels": {"tier": "batch"}}}, patch)
    until("a pod with another label is none", lambda: selecting.names() == ["a-rank-1"])
    api.must("PATCH", api.pods("c"), {"metadata": {"labels": {"tier": None}}}, patch)
    until("and one again", lambda: len(selecting.names()) == 3)
    api.set_ready("c", False)
    until("while it is not ready it is none", lambda: selecting.names() == ["a-rank-1"])
    hold("without a pool a selector finds endpoints, without a second list", selecting.count("lists", "pods") == 1 and selecting.get("/readyz")[0] == 200)
    hold("pools are not asked for then", 'kind="inferencepools' not in selecting.get("/metrics")[1])
    selecting.stop()

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
    third = Picker(program, kubeconfig, "third", *flags)
    until("the third stands by", lambda: third.said("standing by"))
    until("with a warm pool, too", lambda: third.names() == ["a-rank-1"])
    begin = time.monotonic()
    second.process.kill()
    second.process.wait()
    until("the third leads", lambda: third.get("/readyz")[0] == 200)
    took, lease = time.monotonic() - begin, api.must("GET", path)["spec"]
    # Renewed up to two seconds before the end; looked at every two seconds or a little more.
    hold(f"after a crash (SIGKILL) it takes the lease {took:.1f} s later, when it is over", 12 <= took <= 19 and lease["leaseTransitions"] == 2)
    hold("and has its endpoints from the start", third.names() == ["a-rank-1"])
    third.stop()
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
    watch = Watch(api, api.pods("m-7"))
    lines = picker.lines("endpoints changed")
    while next(lines):
        pass
    answers, arrivals, delays = [], [], []
    for turn in range(CHANGES):
        # Changes that follow closely are logged together.
        time.sleep(1.2)
        api.set_ready("m-7", turn % 2 == 1, "127.1.0.8")
        answered = time.time()
        arrived = until("a change is told", lambda: watch.times and watch.times.pop(0), pause=0.002)
        line = until("a change is seen", lambda: next(lines), pause=0.002)
        exposed = datetime.datetime.fromisoformat(line["time"]).timestamp()
        answers.append((exposed - answered) * 1000)
        arrivals.append((arrived - answered) * 1000)
        delays.append((exposed - arrived) * 1000)

    def spread(values):
        values = sorted(values)
        return ", ".join(f"{name} {values[int((len(values) - 1) * part)]:.1f}" for name, part in [("p0", 0), ("p50", 0.5), ("p99", 0.99), ("p100", 1)])

    print(f"kubernetes-check: {CHANGES} changes of a pod, in ms: from the API's answer to another client's watch: {spread(arrivals)}")
    print(f"kubernetes-check: … from the API's answer to Apus's exposing it: {spread(answers)}")
    hold(f"… from the event's arrival at the other client to Apus's exposing it: {spread(delays)}; at most 50", max(delays) <= 50)
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
