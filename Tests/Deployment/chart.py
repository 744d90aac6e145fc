"""The chart as Kubernetes would get it: values merged and checked as Helm does it, templates rendered by render.go."""

import json
import pathlib
import subprocess
import tempfile

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/apus"


class RenderError(Exception):
    pass


def merge(base, over):
    result = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict)
        result[key] = merge(result[key], value) if both else value
    return result


class Renderer:
    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.program = pathlib.Path(self.folder.name) / "render"
        source = pathlib.Path(__file__).with_name("render.go")
        subprocess.run(
            ["go", "build", "-o", self.program, source],
            check=True,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "GO111MODULE": "off", "GOCACHE": self.folder.name + "/cache",
                 "HOME": self.folder.name},
        )
        self.schema = json.loads((CHART / "values.schema.json").read_text())
        self.values = yaml.safe_load((CHART / "values.yaml").read_text())
        chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
        self.chart = {"Name": chart["name"], "Version": chart["version"], "AppVersion": str(chart["appVersion"])}

    def render(self, values, release="apus", namespace="default", kubernetes="1.34"):
        """{file: text}, also of NOTES.txt."""
        values = merge(self.values, values)
        try:
            jsonschema.validate(values, self.schema)
        except jsonschema.ValidationError as error:
            raise RenderError(error.message) from None
        request = {
            "dir": str(CHART),
            "values": values,
            "release": {"Name": release, "Namespace": namespace},
            "chart": self.chart,
            "kubernetes": f"v{kubernetes}.0",
        }
        done = subprocess.run([self.program], input=json.dumps(request), capture_output=True, text=True)
        if done.returncode:
            raise RenderError(done.stderr)
        return json.loads(done.stdout)

    def objects(self, values, **release):
        """All objects, each with the file that it comes from."""
        found = []
        for file, text in sorted(self.render(values, **release).items()):
            if file.endswith(".yaml"):
                found += [(file, item) for item in load_all(text) if item is not None]
        return found


class StrictLoader(yaml.SafeLoader):
    """Refuses a key that stands twice, which the API server may do as well."""


def _mapping(loader, node):
    keys = [loader.construct_object(key) for key, _ in node.value]
    twice = {str(key) for key in keys if keys.count(key) > 1}
    if twice:
        raise yaml.YAMLError(f"twice: {', '.join(sorted(twice))} {node.start_mark}")
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


StrictLoader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def load_all(text):
    return list(yaml.load_all(text, StrictLoader))
