"""The rules as a PrometheusRule for Kubernetes' Prometheus operator."""

import textwrap
from pathlib import Path

from .. import project
from ..settings import ROOT

RULES = ROOT / "monitoring" / "prometheus"
MANIFEST = ROOT / "deploy" / "monitoring" / "prometheus-rule.yaml"
HEAD = f"""\
# Made by `make manifests` from monitoring/prometheus/*.rules.yml: edit those.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: "{project.SLUG}"
  namespace: "{project.KUBERNETES_NAMESPACE}"
spec:
  groups:
"""


def prometheus_rule() -> str:
    """The groups of both rule files, as one manifest; text, so that comments stay."""
    parts = []
    for name in ("recording.rules.yml", "alerts.rules.yml"):
        text = (RULES / name).read_text(encoding="utf-8")
        parts.append(("\n" + text).split("\ngroups:\n", 1)[1].rstrip())
    return HEAD + "".join(textwrap.indent(part, "  ") + "\n" for part in parts)


def write() -> Path:
    """Write the manifest; returns its path."""
    MANIFEST.write_text(prometheus_rule(), encoding="utf-8")
    return MANIFEST
