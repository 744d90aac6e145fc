#!/usr/bin/env python3
"""Writes deploy/kubernetes from the chart's defaults; the pool's selector is the one value that has none."""

import re
import sys

import chart

FOLDER = chart.ROOT / "deploy/kubernetes"
VALUES = {"inferencePool": {"modelServers": {"matchLabels": {"app": "model-server"}}}}
HEAD = "# Written by Tests/Deployment/manifests.py from the chart's defaults.\n"


def expected(renderer):
    files = {}
    for name, text in renderer.render(VALUES).items():
        text = re.sub(r"\n{2,}", "\n", text).strip() + "\n"
        if name.endswith(".yaml") and any(chart.load_all(text)):
            files[name] = HEAD + text
    files["kustomization.yaml"] = (
        HEAD
        + "# Name your namespace here (or `kubectl apply` as they are, into `default`), and your image.\n"
        + "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamespace: default\nresources:\n"
        + "".join(f"- {name}\n" for name in sorted(files))
        + "images:\n- {name: apus, newName: apus, newTag: 0.1.0}\n"
    )
    return files


if __name__ == "__main__":
    if sys.argv[1:]:
        sys.exit("manifests.py takes no arguments")
    FOLDER.mkdir(exist_ok=True)
    files = expected(chart.Renderer())
    for stale in FOLDER.glob("*.yaml"):
        if stale.name not in files:
            stale.unlink()
    for name, text in files.items():
        (FOLDER / name).write_text(text)
