#!/usr/bin/env python3
"""Checks what the chart, the manifests, the image, the unit and Envoy's bootstraps promise.

APUS: the program (else .build/debug/apus). APUS_ENVOY: Envoy, whose validation is skipped without it. APUS_SCHEMAS: what deploy/install-schemas.sh
prints, without which objects are not compared with Kubernetes' schemas.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import yaml

import chart
import manifests

ROOT = chart.ROOT
APUS = os.environ.get("APUS", str(ROOT / ".build/debug/apus"))
ENVOY = os.environ.get("APUS_ENVOY")
SCHEMAS = os.environ.get("APUS_SCHEMAS")
POOL = {"inferencePool": {"modelServers": {"matchLabels": {"app": "m"}}}}


def epp(**values):
    return chart.merge(POOL, {"inferenceExtension": values})


SETS = {
    "defaults": POOL,
    "one": epp(replicas=1, image={"hub": "example/team"}),
    "leader": epp(leaderElection={"enabled": True}),
    "selector": epp(
        endpointsServer={"createInferencePool": False, "endpointSelector": "app in (a,b)", "targetPorts": "8000,8001"},
        leaderElection={"enabled": True},
    ),
    "envoy": chart.merge(
        epp(extProcPort=9102, healthPort=9103, metricsPort=9190),
        {"envoy": {"enabled": True}, "networkPolicy": {"httpFrom": [{"ipBlock": {"cidr": "10.0.0.0/8"}}]}},
    ),
    "everything": chart.merge(
        epp(
            flags={"v": 2, "emit-endpoint-scores": True, "refresh-metrics-interval": "20ms"},
            extraArgs=["--max-streams=100"],
            env=[{"name": "OTEL_SERVICE_NAME", "value": "epp"}],
            tlsSecretName="tls",
            imagePullSecrets=[{"name": "pull"}],
            extraServicePorts=[{"name": "more", "port": 8081, "protocol": "TCP", "targetPort": 8081}],
            orchestration={"mode": "handoff", "connector": "nixlv2", "maxAttempts": 2},
            pluginsCustomConfig={"own.yaml": "apiVersion: llm-d.ai/v1alpha1\nkind: EndpointPickerConfig\n"},
            pluginsConfigFile="own.yaml",
            podAnnotations={"a": "b"},
            podLabels={"c": "d"},
            nodeSelector={"e": "f"},
            tolerations=[{"key": "gpu", "operator": "Exists"}],
            affinity={"nodeAffinity": {}},
            topologySpreadConstraints=[{"maxSkew": 2, "topologyKey": "rack", "whenUnsatisfiable": "DoNotSchedule"}],
            priorityClassName="high",
            volumes=[{"name": "x", "emptyDir": {}}],
            volumeMounts=[{"name": "x", "mountPath": "/x"}],
            monitoring={"prometheus": {"enabled": True, "auth": {"secretName": "reader"}}},
            tracing={"enabled": True, "otelExporterEndpoint": "http://otel:4318"},
        ),
        {
            "serviceAccount": {"annotations": {"g": "h"}},
            "networkPolicy": {"extProcFrom": [{"podSelector": {}}], "metricsFrom": [{"namespaceSelector": {}}]},
        },
    ),
    "open": chart.merge(
        epp(monitoring={"prometheus": {"auth": {"enabled": False}}}),
        {
            "networkPolicy": {"enabled": False},
            "podDisruptionBudget": {"enabled": False},
            "serviceAccount": {"create": False, "name": "mine"},
        },
    ),
}


def known_flags():
    text = (ROOT / "Sources/apus/Flags.swift").read_text()
    names = set(re.findall(r'name: "([a-z-]+)"', text)) | set(re.findall(r'\("([a-z-]+)", (?:true|false)\)', text))
    assert len(names) > 40, names
    return names


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        global RENDERER
        RENDERER = globals().get("RENDERER") or chart.Renderer()
        cls.renderer = RENDERER

    def each(self, **server):
        """Every set's name and objects."""
        for name, values in SETS.items():
            found = self.renderer.objects(values, release="pool-a", namespace="team", **server)
            yield name, [item for _, item in found]

    def only(self, objects, kind, name=None):
        found = [o for o in objects if o["kind"] == kind and name in (None, o["metadata"]["name"])]
        self.assertEqual(len(found), 1, f"{kind} {name}")
        return found[0]


class Chart(Case):
    def test_every_object_is_complete_and_stands_once(self):
        for _, objects in self.each():
            keys = [(o["apiVersion"], o["kind"], o["metadata"]["name"]) for o in objects]
            self.assertEqual(len(keys), len(set(keys)))
            for item in objects:
                self.assertRegex(item["metadata"]["name"], r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
                labels = item["metadata"]["labels"]
                self.assertEqual(labels["app.kubernetes.io/instance"], "pool-a")
                if item["kind"].startswith("Cluster"):
                    self.assertNotIn("namespace", item["metadata"])
                    self.assertTrue(item["metadata"]["name"].startswith("team-"))
                else:
                    self.assertEqual(item["metadata"]["namespace"], "team")

    def test_selectors_find_the_pods_and_names_lead_somewhere(self):
        for _, objects in self.each():
            deployment = self.only(objects, "Deployment")
            pod = deployment["spec"]["template"]
            labels = pod["metadata"]["labels"].items()
            selector = deployment["spec"]["selector"]["matchLabels"]
            self.assertLessEqual(selector.items(), labels)
            service = self.only(objects, "Service")
            self.assertEqual(service["spec"]["selector"], selector)
            for item in objects:
                if item["kind"] == "PodDisruptionBudget":
                    self.assertEqual(item["spec"]["selector"]["matchLabels"], selector)
                if item["kind"] == "NetworkPolicy":
                    self.assertEqual(item["spec"]["podSelector"]["matchLabels"], selector)
                if item["kind"] == "ServiceMonitor":
                    wanted = item["spec"]["selector"]["matchLabels"].items()
                    self.assertLessEqual(wanted, service["metadata"]["labels"].items())
                    self.assertIn(item["spec"]["endpoints"][0]["port"], [p["name"] for p in service["spec"]["ports"]])
                if item["kind"] == "InferencePool":
                    reference = item["spec"]["endpointPickerRef"]
                    self.assertEqual(reference["name"], service["metadata"]["name"])
                    self.assertIn(reference["port"]["number"], [p["port"] for p in service["spec"]["ports"]])
                    # The pool must not take its own picker for a model server.
                    self.assertFalse(item["spec"]["selector"]["matchLabels"].items() <= labels)
                if item["kind"].endswith("RoleBinding"):
                    role = item["roleRef"]
                    self.only(objects, role["kind"], role["name"])
                    account = pod["spec"]["serviceAccountName"]
                    self.assertEqual([s["name"] for s in item["subjects"]], [account])
                    self.assertEqual([s["namespace"] for s in item["subjects"]], ["team"])
            maps = {o["metadata"]["name"] for o in objects if o["kind"] == "ConfigMap"}
            volumes = {v["name"]: v for v in pod["spec"]["volumes"]}
            self.assertEqual(maps, {v["configMap"]["name"] for v in volumes.values() if "configMap" in v})
            for container in pod["spec"]["containers"]:
                for mount in container["volumeMounts"]:
                    self.assertIn(mount["name"], volumes)

    def test_ports_of_probes_services_and_policies_are_the_containers(self):
        for name, objects in self.each():
            containers = self.only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]
            ports = {p["name"]: p["containerPort"] for c in containers for p in c["ports"]}
            self.assertEqual(len(ports), sum(len(c["ports"]) for c in containers))
            for container in containers:
                own = {p["name"] for p in container["ports"]} | {p["containerPort"] for p in container["ports"]}
                probes = [container[p] for p in ("livenessProbe", "readinessProbe") if p in container]
                self.assertTrue(probes)
                for probe in probes:
                    self.assertIn((probe.get("grpc") or probe["httpGet"])["port"], own)
            picker = containers[0]
            self.assertEqual(picker["livenessProbe"]["grpc"]["service"], "liveness")
            self.assertEqual(picker["readinessProbe"]["grpc"]["service"], "readiness")
            self.assertIn(f"--grpc-health-port={picker['readinessProbe']['grpc']['port']}", picker["args"])
            self.assertIn(f"--grpc-port={ports['grpc']}", picker["args"])
            self.assertIn(f"--metrics-port={ports['metrics']}", picker["args"])
            service = self.only(objects, "Service")["spec"]["ports"]
            for port in service:
                self.assertTrue(port["targetPort"] in ports or name == "everything", port)
            for policy in (o for o in objects if o["kind"] == "NetworkPolicy"):
                opened = {p["port"] for rule in policy["spec"]["ingress"] for p in rule["ports"]}
                wanted = {"grpc", "grpc-health", "metrics"} | ({"http"} if name == "envoy" else set())
                self.assertEqual(opened, wanted)

    def test_arguments_are_flags_that_the_picker_knows(self):
        flags = known_flags()
        for name, objects in self.each():
            args = self.only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
            for argument in args:
                self.assertRegex(argument, "^--")
                self.assertIn(argument[2:].split("=")[0], flags)
            self.assertEqual("--ha-enable-leader-election" in args, name in ("leader", "selector"))
            sources = [a for a in args if a.startswith(("--pool-name=", "--endpoint-selector="))]
            self.assertEqual(len(sources), 1)

    def test_permissions_are_exactly_what_the_client_asks_for(self):
        for name, objects in self.each():
            got = set()
            for item in objects:
                if item["kind"] in ("Role", "ClusterRole") and not item["metadata"]["name"].endswith("-reader"):
                    for rule in item["rules"]:
                        for group in rule["apiGroups"]:
                            for resource in rule["resources"]:
                                for verb in rule["verbs"]:
                                    names = tuple(rule.get("resourceNames", ()))
                                    got.add((item["kind"], group, resource, verb, names))
            wanted = {("Role", "", "pods", v, ()) for v in ("list", "watch")}
            for group in ("inference.networking.x-k8s.io", "llm-d.ai"):
                for resource in ("inferenceobjectives", "inferencemodelrewrites"):
                    wanted |= {("Role", group, resource, v, ()) for v in ("list", "watch")}
            if name != "selector":
                wanted |= {
                    ("Role", "inference.networking.k8s.io", "inferencepools", v, ("pool-a",)) for v in ("list", "watch")
                }
            if name in ("leader", "selector"):
                pool = "pool-a" if name == "leader" else "pool-a-epp"
                lease = f"epp-team-{pool}.gateway-api-inference-extension.sigs.k8s.io"
                wanted |= {("Role", "coordination.k8s.io", "leases", v, (lease,)) for v in ("get", "update")}
                wanted.add(("Role", "coordination.k8s.io", "leases", "create", ()))
            if name != "open":
                wanted.add(("ClusterRole", "authentication.k8s.io", "tokenreviews", "create", ()))
                wanted.add(("ClusterRole", "authorization.k8s.io", "subjectaccessreviews", "create", ()))
            self.assertEqual(got, wanted)

    def test_the_client_asks_for_nothing_else(self):
        """What the sources say, so that a new request to the API does not come without its permission."""
        folder = ROOT / "Sources/Discovery/Kubernetes"
        texts = {path.name: path.read_text() for path in folder.glob("*.swift")}
        whole = "\n".join(texts.values())
        collections = set(re.findall(r'"(pods|[a-z]+s)",?\s*(?:field:|label:|\)|\n)', texts["KubernetesDiscovery.swift"]))
        self.assertEqual(collections, {"inferencepools", "inferenceobjectives", "inferencemodelrewrites", "pods"})
        self.assertEqual(set(re.findall(r'"/apis/([a-z0-9./]+)"', whole)), {
            "authentication.k8s.io/v1/tokenreviews", "authorization.k8s.io/v1/subjectaccessreviews",
        })
        methods = {(name, m) for name, t in texts.items() for m in re.findall(r'call\(\s*"([A-Z]+)"', t)}
        self.assertEqual(methods, {
            ("AccessReview.swift", "POST"), ("LeaderElection.swift", "GET"), ("LeaderElection.swift", "POST"),
            ("LeaderElection.swift", "PUT"),
        })
        self.assertEqual(set(re.findall(r'request\("([A-Z]+)"', whole)), {"GET"})
        self.assertIn('"metadata.name=\\(name)"', texts["KubernetesDiscovery.swift"])

    def test_containers_may_do_nothing_special(self):
        for _, objects in self.each():
            pod = self.only(objects, "Deployment")["spec"]["template"]["spec"]
            self.assertTrue(pod["securityContext"]["runAsNonRoot"])
            self.assertGreater(pod["securityContext"]["runAsUser"], 0)
            self.assertEqual(pod["securityContext"]["seccompProfile"], {"type": "RuntimeDefault"})
            for container in pod["containers"]:
                context = container["securityContext"]
                self.assertIs(context["allowPrivilegeEscalation"], False)
                self.assertIs(context["readOnlyRootFilesystem"], True)
                self.assertEqual(context["capabilities"], {"drop": ["ALL"]})
                self.assertTrue(container["resources"]["requests"])

    def test_mounted_secrets_can_be_read(self):
        """A Secret's files belong to root and, with it, to the group fsGroup; the containers run as somebody else."""
        found = 0
        for _, objects in self.each():
            pod = self.only(objects, "Deployment")["spec"]["template"]["spec"]
            for volume in (v for v in pod["volumes"] if "secret" in v):
                found += 1
                modes = [i["mode"] for i in volume["secret"].get("items", []) if "mode" in i]
                for mode in [volume["secret"].get("defaultMode", 0o644), *modes]:
                    isOfGroup = "fsGroup" in pod["securityContext"] and mode & 0o040
                    self.assertTrue(mode & 0o004 or isOfGroup, f"{volume['name']}: {mode:o}")
        self.assertTrue(found)

    def test_replicas_end_in_time_and_are_kept(self):
        for name, objects in self.each():
            deployment = self.only(objects, "Deployment")["spec"]
            pod = deployment["template"]["spec"]
            drain = next(a for a in pod["containers"][0]["args"] if a.startswith("--drain-timeout="))
            self.assertLess(int(drain.split("=")[1].rstrip("s")) + 5, pod["terminationGracePeriodSeconds"])
            hooks = [c["lifecycle"]["preStop"]["sleep"]["seconds"] for c in pod["containers"] if "lifecycle" in c]
            self.assertEqual(hooks, [30, 30] if name == "envoy" else [])
            isElected = name in ("leader", "selector")
            self.assertEqual(deployment["strategy"]["type"], "Recreate" if isElected else "RollingUpdate")
            budgets = [o for o in objects if o["kind"] == "PodDisruptionBudget"]
            self.assertEqual(len(budgets), 0 if isElected or name in ("one", "open") else 1)
            self.assertEqual(deployment["replicas"], 1 if name == "one" else 2)
            self.assertTrue(pod["topologySpreadConstraints"])

    def test_configurations_pass_the_pickers_own_check(self):
        for name, objects in self.each():
            data = self.only(objects, "ConfigMap", "pool-a-epp")["data"]
            args = self.only(objects, "Deployment")["spec"]["template"]["spec"]["containers"][0]["args"]
            file = next(a for a in args if a.startswith("--config-file=")).rpartition("/")[2]
            self.assertIn(file, data)
            with tempfile.TemporaryDirectory() as folder:
                for key, text in data.items():
                    path = pathlib.Path(folder) / key
                    path.write_text(text)
                    done = subprocess.run([APUS, "check", path], capture_output=True, text=True)
                    self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            if name == "everything":
                parsed = yaml.safe_load(data["default-plugins.yaml"])
                self.assertEqual(parsed["orchestration"]["mode"], "handoff")
                self.assertEqual([p["name"] for p in parsed["schedulingProfiles"]], ["prefill", "decode"])

    def test_values_that_cannot_work_are_refused(self):
        bad = {
            "no labels": {},
            "no selector": epp(endpointsServer={"createInferencePool": False}),
            "unknown": epp(replica=1),
            "port": epp(extProcPort=70000),
            "nine ports": chart.merge(POOL, {"inferencePool": {"targetPorts": [{"number": n} for n in range(1, 10)]}}),
            "api": chart.merge(POOL, {"inferencePool": {"apiVersion": "inference.networking.x-k8s.io/v1alpha2"}}),
            "flag": epp(flags={"--v": 1}),
            "plain text for Envoy": chart.merge(
                epp(flags={"secure-serving": False}), {"envoy": {"enabled": True}}
            ),
            "a certificate of Envoy's": chart.merge(
                epp(extraArgs=["--client-ca-file=/ca.pem"]), {"envoy": {"enabled": True}}
            ),
            "another chart's": chart.merge(POOL, {"inferencePool": {"modelServerType": "vllm"}}),
        }
        for name, values in bad.items():
            with self.subTest(name), self.assertRaises(chart.RenderError):
                self.renderer.render(values)

    def test_flags_that_envoy_cannot_follow_go_without_it(self):
        flags = {"secure-serving": False, "client-ca-file": "/ca.pem"}
        self.assertIn("--secure-serving=false", self.renderer.render(epp(flags=flags))["deployment.yaml"])
        beside = chart.merge(epp(flags={"secure-serving": True, "v": 2}), {"envoy": {"enabled": True}})
        self.assertIn("--secure-serving=true", self.renderer.render(beside)["deployment.yaml"])

    def test_the_hook_of_the_drain_is_left_out_where_it_is_not_known(self):
        for version, count in (("1.27", 0), ("1.29", 0), ("1.30", 2), ("1.34", 2)):
            text = self.renderer.render(SETS["envoy"], kubernetes=version)["deployment.yaml"]
            self.assertEqual(text.count("preStop"), count, version)

    def test_notes_are_written_for_every_set(self):
        for values in SETS.values():
            self.assertIn("pool-a-epp", self.renderer.render(values, release="pool-a")["NOTES.txt"])


class Manifests(Case):
    def test_they_are_the_charts_defaults(self):
        wanted = manifests.expected(self.renderer)
        found = {path.name: path.read_text() for path in manifests.FOLDER.glob("*.yaml")}
        self.assertEqual(found, wanted, "run Tests/Deployment/manifests.py")

    def test_kustomization_names_all_of_them(self):
        listed = yaml.safe_load((manifests.FOLDER / "kustomization.yaml").read_text())["resources"]
        files = {p.name for p in manifests.FOLDER.glob("*.yaml")} - {"kustomization.yaml"}
        self.assertEqual(set(listed), files)


@unittest.skipUnless(SCHEMAS, "no schemas")
class Schemas(Case):
    """Every object as Kubernetes takes it: no member that it does not know, from the oldest version that the documentation names to a new one."""

    # Kinds that others define.
    OTHERS = {"InferencePool", "ServiceMonitor"}

    def check(self, version, objects):
        with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
            yaml.safe_dump_all(objects, file)
            file.flush()
            command = [SCHEMAS, "--strict", "--kubernetes-version", version, file.name]
            done = subprocess.run(command, capture_output=True, text=True)
        return done.returncode == 0, done.stdout + done.stderr

    def test_every_object_has_the_form_that_kubernetes_knows(self):
        for version in ("1.27", "1.30", "1.34"):
            for name, objects in self.each(kubernetes=version):
                own = [o for o in objects if o["kind"] not in self.OTHERS]
                isValid, said = self.check(version, own)
                self.assertTrue(isValid, f"{name}, {version}: {said}")
                self.assertEqual(said.count(" passed "), len(own), said)

    def test_the_schemas_object_to_what_is_wrong(self):
        objects = [o for o in dict(self.each())["defaults"] if o["kind"] == "Deployment"]
        objects[0]["spec"]["template"]["spec"]["containers"][0]["livenesProbe"] = {}
        self.assertFalse(self.check("1.34", objects)[0])


class Image(unittest.TestCase):
    def setUp(self):
        self.text = (ROOT / "deploy/Dockerfile").read_text()
        self.stages = re.split(r"(?m)^FROM ", self.text)[1:]

    def test_it_runs_as_nobody_in_particular(self):
        runtime = self.stages[-1]
        user = re.findall(r"(?m)^USER (\S+)$", runtime)
        self.assertEqual(len(user), 1)
        self.assertRegex(user[0], r"^[1-9][0-9]*:[1-9][0-9]*$")
        self.assertRegex(runtime, r'(?m)^ENTRYPOINT \["/usr/bin/apus"\]$')
        self.assertNotRegex(self.text, r"(?m)^(ADD|CMD|SHELL|VOLUME)\b")
        self.assertNotRegex(self.text, r"curl |wget |https?:|sudo")
        self.assertEqual(set(re.search(r"(?m)^EXPOSE (.*)$", runtime)[1].split()), {"9002", "9003", "9090"})

    def test_images_are_arguments_that_name_no_registry(self):
        arguments = dict(re.findall(r"(?m)^ARG (\w+)=(\S+)$", self.text))
        for stage in self.stages:
            name = re.match(r"\$\{(\w+)\}", stage)
            self.assertTrue(name and name[1] in arguments, stage.splitlines()[0])
        for image in arguments.values():
            self.assertNotIn("/", image)

    def test_the_program_is_stripped(self):
        self.assertRegex(self.stages[0], r'RUN \["strip"')
        self.assertIn("--static-swift-stdlib", self.stages[0])

    @unittest.skipUnless(pathlib.Path(APUS).exists() and shutil.which("readelf"), "no program, or no readelf")
    def test_its_libraries_are_those_that_the_program_needs(self):
        installed = re.search(r"--no-install-recommends \\\n(.*?)\n\s*&&", self.stages[-1], re.S)[1]
        installed = set(installed.replace("\\", " ").split()) - {"ca-certificates"}
        dynamic = subprocess.run(["readelf", "-d", APUS], capture_output=True, text=True, check=True).stdout
        # Swift's own are linked in.
        swift = re.compile(r"lib(swift|_?Foundation|_Testing|dispatch|BlocksRuntime|XCTest|Testing)")
        names = [n for n in re.findall(r"\(NEEDED\).*\[(.+)\]", dynamic) if not swift.match(n)]
        resolved = dict(re.findall(r"(\S+) => (\S+)", subprocess.run(["ldd", APUS], capture_output=True, text=True).stdout))
        packages = set()
        for name in names:
            path = pathlib.Path(resolved[name]).resolve() if name in resolved else None
            if path is None:
                continue
            candidates = {str(path), str(path).removeprefix("/usr")}
            owner = next(
                (
                    done.stdout.split(":")[0]
                    for done in (subprocess.run(["dpkg", "-S", c], capture_output=True, text=True) for c in candidates)
                    if done.returncode == 0
                ),
                None,
            )
            self.assertIsNotNone(owner, name)
            packages.add(owner)
        # In every Debian image.
        packages -= {"libc6"}
        self.assertEqual(packages | {"libgcc-s1", "libstdc++6"}, installed)


class Unit(unittest.TestCase):
    PATH = ROOT / "deploy/systemd/apus.service"

    def test_its_arguments_are_flags_that_the_picker_knows(self):
        line = re.search(r"(?m)^ExecStart=(.*)$", self.PATH.read_text())[1]
        for name in re.findall(r"--([a-z-]+)", line):
            self.assertIn(name, known_flags())
        self.assertIn("Type=notify\n", self.PATH.read_text())

    @unittest.skipUnless(shutil.which("systemd-analyze"), "no systemd-analyze")
    def test_systemd_understands_it_and_finds_it_hardened(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "apus.service"
            path.write_text(self.PATH.read_text().replace("/usr/local/bin/apus", "/bin/true"))
            done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
            mine = [line for line in done.stderr.splitlines() if "apus" in line]
            self.assertEqual((done.returncode, mine), (0, []), done.stderr)
            done = subprocess.run(
                ["systemd-analyze", "security", "--offline=true", "--no-pager", path], capture_output=True, text=True
            )
            level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", done.stdout)
            if level is None:
                self.skipTest("systemd-analyze cannot judge offline: " + done.stderr)
            print(f"exposure level of the unit: {level[1]} of 10")
            self.assertLess(float(level[1]), 2.0)


class Bootstraps(Case):
    """What the templates say must hold for what is made of them."""

    def template(self, port, listener, admin):
        text = (ROOT / "deploy/envoy/original-dst-tls.yaml").read_text()
        for name, value in (("EXT_PROC_PORT", port), ("LISTENER_PORT", listener), ("ADMIN_PORT", admin)):
            text = text.replace(f"@{name}@", str(value))
        return yaml.safe_load(text)

    def test_the_one_for_machines_is_the_template_filled_in(self):
        found = yaml.safe_load((ROOT / "deploy/envoy/standalone.yaml").read_text())
        self.assertEqual(found, self.template(9002, 8080, 19000))

    def test_the_charts_differs_from_the_template_where_it_must(self):
        objects = dict(self.each())["envoy"]
        found = yaml.safe_load(self.only(objects, "ConfigMap", "pool-a-epp-envoy")["data"]["envoy.yaml"])
        wanted = self.template(9102, 8081, 19000)
        inference = wanted["static_resources"]["listeners"][0]
        inference["address"]["socket_address"]["address"] = "0.0.0.0"
        self.assertEqual(found["static_resources"]["listeners"][0], inference)
        self.assertEqual(found["static_resources"]["clusters"], wanted["static_resources"]["clusters"])
        self.assertEqual(found["admin"], wanted["admin"])


@unittest.skipUnless(ENVOY, "APUS_ENVOY is not set")
class Envoy(Case):
    def validate(self, path):
        done = subprocess.run(
            [ENVOY, "--mode", "validate", "--config-path", path, "--base-id", "77", "--log-level", "warn"],
            capture_output=True, text=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr + done.stdout)

    def test_the_charts_bootstrap_is_valid(self):
        for name, objects in self.each():
            if name != "envoy":
                continue
            text = self.only(objects, "ConfigMap", "pool-a-epp-envoy")["data"]["envoy.yaml"]
            with tempfile.TemporaryDirectory() as folder:
                path = pathlib.Path(folder) / "envoy.yaml"
                path.write_text(text)
                self.validate(path)
            ext_proc = next(c for c in yaml.safe_load(text)["static_resources"]["clusters"] if c["name"] == "ext_proc")
            self.assertIn('"port_value": 9102', json.dumps(ext_proc))

    def test_the_bootstrap_for_machines_is_valid_as_it_is(self):
        path = ROOT / "deploy/envoy/standalone.yaml"
        self.assertNotRegex(path.read_text(), r"@[A-Z_]+@")
        self.validate(path)


if __name__ == "__main__":
    unittest.main()
