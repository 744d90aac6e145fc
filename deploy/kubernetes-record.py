#!/usr/bin/env python3
"""Records what a real Kubernetes API server tells a picker while a Deployment is rolled over.

    deploy/kubernetes-record.py KUBE_APISERVER ETCD KUBE_CONTROLLER_MANAGER KUBE_SCHEDULER FILE [VERSION]

Starts these four. The Deployment and ReplicaSet controllers and the scheduler make, bind and delete the pods; the only thing that is played is the kubelet,
which runs no containers: it writes a pod's status and, at the end, deletes it, with the requests and in the order of a real one. Pods get
addresses of the loopback interface, so that tests can let servers listen on them.
VERSION is for a server that was built without knowing its own. FILE gets the lists that Apus asks for (of pods also two to a page) and every line of the watch that it opens then, byte for byte, with the seconds since the first list:

    list SECONDS PATH    the answer's body is the line below
    watch SECONDS PATH   its lines follow
    event SECONDS        the line below, as it came
"""

import datetime
import http.client
import json
import sys
import threading
import time
import urllib.parse

import yaml

from kubernetes_api import API, FOLDER, POOL_GROUP, Server, free_port, start, until

NAMESPACE = "models"
NODES = {"node-a": "192.0.2.11", "node-b": "192.0.2.12"}
REPLICAS = 4
STRATEGIC = "application/strategic-merge-patch+json"


class Kubelet:
    """All the nodes' kubelets: the pods' servers take a while to start and, when asked to end, first finish what they have. One new pod's fails once."""

    DOWNLOAD, LOAD, FAILURE, PRE_STOP, END = 1.5, 4, 1, 3, 0.3

    def __init__(self, config):
        self.api = API(config, NAMESPACE)
        self.api.headers["User-Agent"] = "kubelet/v1.20.2 (linux/amd64) kubernetes/faecb19"
        self.addresses = (f"127.1.0.{number}" for number in range(1, 255))
        self.seen, self.ending, self.created = set(), set(), 0
        self.lock = threading.Lock()
        threading.Thread(target=self.follow, daemon=True).start()

    def follow(self):
        while True:
            for pod in self.api.must("GET", self.api.pods())["items"]:
                name = pod["metadata"]["name"]
                if "nodeName" in pod["spec"] and name not in self.seen:
                    self.seen.add(name)
                    self.created += 1
                    threading.Thread(target=self.run, args=[pod, self.created == REPLICAS + 2], daemon=True).start()
                if "deletionTimestamp" in pod["metadata"] and name not in self.ending:
                    self.ending.add(name)
                    threading.Thread(target=self.stop, args=[pod], daemon=True).start()
            time.sleep(0.05)

    @staticmethod
    def now():
        return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")

    def patch(self, pod, is_ready, state, restarts=0, last=None, **status):
        """As a kubelet's status manager does it; what does not change stays."""
        container = pod["spec"]["containers"][0]
        is_running = "running" in state
        statuses = {
            "name": container["name"],
            "image": container["image"],
            "imageID": f"docker-pullable://{container['image']}" if is_running else "",
            "lastState": last or {},
            "ready": is_ready,
            "started": is_running,
            "restartCount": restarts,
            "state": state,
        }
        unready = {} if is_ready else {"reason": "ContainersNotReady", "message": f"containers with unready status: [{container['name']}]"}
        conditions = [
            {"type": kind, "status": str(is_ready), "lastProbeTime": None, "lastTransitionTime": self.now(), **{"reason": None, "message": None}, **unready}
            for kind in ["Ready", "ContainersReady"]
        ]
        if "startTime" in status:
            conditions.append({"type": "Initialized", "status": "True", "lastProbeTime": None, "lastTransitionTime": self.now()})
        body = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": conditions, "containerStatuses": [statuses], **status}}
        self.api.must("PATCH", self.api.pods(pod["metadata"]["name"]) + "/status", body, STRATEGIC)

    def run(self, pod, fails_once):
        host = NODES[pod["spec"]["nodeName"]]
        self.patch(pod, False, {"waiting": {"reason": "ContainerCreating"}}, startTime=self.now(), hostIP=host)
        time.sleep(self.DOWNLOAD)
        with self.lock:
            address = next(self.addresses)
        running = {"running": {"startedAt": self.now()}}
        self.patch(pod, False, running, phase="Running", podIP=address, podIPs=[{"ip": address}])
        restarts, last = 0, None
        if fails_once:
            time.sleep(self.FAILURE)
            last = {"terminated": {"exitCode": 1, "reason": "Error", "startedAt": running["running"]["startedAt"], "finishedAt": self.now()}}
            self.patch(pod, False, last)
            time.sleep(self.FAILURE)
            self.patch(pod, False, {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s restarting failed container"}}, 0, last)
            time.sleep(self.FAILURE)
            restarts, running = 1, {"running": {"startedAt": self.now()}}
            self.patch(pod, False, running, restarts, last)
        time.sleep(self.LOAD)
        self.patch(pod, True, running, restarts, last)

    def stop(self, pod):
        """The hook before the end is a pause in which the readiness probe goes on to succeed; then SIGTERM, and the server's end."""
        time.sleep(self.PRE_STOP + self.END)
        now = self.now()
        self.patch(pod, False, {"terminated": {"exitCode": 0, "reason": "Completed", "startedAt": now, "finishedAt": now}})
        time.sleep(self.END)
        end = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": pod["metadata"]["uid"]}}
        self.api.must("DELETE", self.api.pods(pod["metadata"]["name"]), end)


class Recorder:
    """A client that asks as Apus asks, and writes down the answers."""

    def __init__(self, api, file):
        self.api, self.file = api, file
        self.began = None
        self.lines = []

    def seconds(self):
        return f"{time.monotonic() - self.began:.3f}"

    def open(self, path, **query):
        server = urllib.parse.urlsplit(self.api.cluster["server"])
        connection = http.client.HTTPSConnection(server.hostname, server.port, context=self.api.tls)
        target = path + "?" + urllib.parse.urlencode(query)
        connection.request("GET", target, headers={**self.api.headers, "Accept": "application/json"})
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
        return target, answer

    def list(self, path, **query):
        """All pages; returns the list's version."""
        self.began = self.began or time.monotonic()
        while True:
            seconds = self.seconds()
            target, answer = self.open(path, **query)
            body = answer.read()
            assert body.endswith(b"\n") and body.count(b"\n") == 1
            self.write(f"list {seconds} {target}\n".encode() + body)
            metadata = json.loads(body)["metadata"]
            # "" at the end of a list of custom resources.
            if not metadata.get("continue"):
                return metadata["resourceVersion"]
            query["continue"] = metadata["continue"]

    def watch(self, path, **query):
        """Goes on in the background."""
        target, answer = self.open(path, **query)
        self.write(f"watch {self.seconds()} {target}\n".encode())

        def follow():
            while line := answer.readline():
                self.write(f"event {self.seconds()}\n".encode() + line)
                self.lines.append(json.loads(line))

        threading.Thread(target=follow, daemon=True).start()

    def write(self, data):
        self.file.write(data)
        self.file.flush()

    def count(self, kind):
        return sum(line["type"] == kind for line in self.lines)


def deployment():
    probe = {"httpGet": {"path": "/health", "port": 8000}, "periodSeconds": 1}
    container = {
        "name": "vllm",
        "image": "vllm:1",
        "args": ["--model=demo", "--port=8000"],
        "ports": [{"name": "http", "containerPort": 8000}],
        "readinessProbe": probe,
        "lifecycle": {"preStop": {"exec": {"command": ["sleep", "15"]}}},
        "resources": {"requests": {"cpu": "1", "memory": "1Gi"}},
    }
    template = {"metadata": {"labels": {"app": "vllm"}}, "spec": {"terminationGracePeriodSeconds": 60, "containers": [container]}}
    strategy = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
    spec = {"replicas": REPLICAS, "selector": {"matchLabels": {"app": "vllm"}}, "strategy": strategy, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "vllm"}, "spec": spec}


def main():
    if len(sys.argv) not in (6, 7):
        sys.exit(__doc__)
    server = Server(*sys.argv[1:3])
    config = server.config()
    api = API(config, NAMESPACE)
    until("the API server answers", lambda: api.ask("GET", "/api/v1")[0] == 200)
    kubeconfig = FOLDER / "kubeconfig"
    kubeconfig.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Config", **config}))
    common = [f"--kubeconfig={kubeconfig}", "--leader-elect=false", "--bind-address=127.0.0.1", "--port=0"]
    controllers = "--controllers=deployment,replicaset,serviceaccount,serviceaccount-token"
    key = f"--service-account-private-key-file={FOLDER}/key"
    start(sys.argv[3], *common, f"--secure-port={free_port()}", f"--cert-dir={FOLDER}/manager", controllers, key, log="manager.log")
    start(sys.argv[4], *common, f"--secure-port={free_port()}", f"--cert-dir={FOLDER}/scheduler", log="scheduler.log")
    api.must("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    room = {"cpu": "16", "memory": "64Gi", "pods": "110"}
    for name, address in NODES.items():
        addresses = [{"type": "InternalIP", "address": address}]
        ready = [{"type": "Ready", "status": "True", "reason": "KubeletReady"}]
        status = {"capacity": room, "allocatable": room, "conditions": ready, "addresses": addresses}
        api.must("POST", "/api/v1/nodes", {"metadata": {"name": name}, "status": status})
        api.must("PATCH", f"/api/v1/nodes/{name}", {"spec": {"taints": None}}, "application/merge-patch+json")
    api.define(POOL_GROUP, "v1", "InferencePool")
    pools = api.path(POOL_GROUP, "v1", "inferencepools")
    spec = {"selector": {"matchLabels": {"app": "vllm"}}, "targetPorts": [{"number": 8000}], "appProtocol": "http"}
    spec["endpointPickerRef"] = {"name": "vllm-epp", "port": {"number": 9002}}
    api.must("POST", pools, {"apiVersion": f"{POOL_GROUP}/v1", "kind": "InferencePool", "metadata": {"name": "vllm"}, "spec": spec})
    Kubelet(config)
    deployments = api.path("apps", "v1", "deployments")
    api.must("POST", deployments, deployment())

    def is_rolled_out():
        now = api.must("GET", f"{deployments}/vllm")
        status = now["status"]
        counts = [status.get(name, 0) for name in ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"]]
        return counts == [REPLICAS] * 4 and status["observedGeneration"] == now["metadata"]["generation"]

    until("the deployment is there", is_rolled_out)
    with open(sys.argv[5], "wb") as file:
        version = sys.argv[6] if len(sys.argv) == 7 else api.must("GET", "/version")["gitVersion"]
        notes = [
            "What a Kubernetes API server told while a Deployment of four pods was rolled over (maxSurge 1, maxUnavailable 0).",
            f"Kubernetes {version}: its kube-apiserver, kube-controller-manager and kube-scheduler.",
            f"Recorded on {datetime.date.today()} by deploy/kubernetes-record.py, which says what is real about it.",
        ]
        file.write("".join(f"# {note}\n" for note in notes).encode())
        recorder = Recorder(api, file)
        recorder.list(pools, fieldSelector="metadata.name=vllm", limit=500)
        recorder.list(api.pods(), labelSelector="app=vllm", limit=2)
        version = recorder.list(api.pods(), labelSelector="app=vllm", limit=500)
        recorder.watch(
            api.pods(), labelSelector="app=vllm", watch="true", allowWatchBookmarks="true", resourceVersion=version, timeoutSeconds=400
        )
        container = {"name": "vllm", "image": "vllm:2"}
        api.must("PATCH", f"{deployments}/vllm", {"spec": {"template": {"spec": {"containers": [container]}}}}, STRATEGIC)
        until("all pods are new", lambda: recorder.count("DELETED") == REPLICAS and is_rolled_out(), 240)
        until("a bookmark comes", lambda: recorder.lines[-1]["type"] == "BOOKMARK", 180)
    print(f"kubernetes-record: {len(recorder.lines)} lines of the watch in {sys.argv[5]}")


main()
