"""The repository's rules for Prometheus: PrometheusRule manifests, and the groups in them.

The manifests in monitoring/ are the only source. Kubernetes' Prometheus operator takes them as they
are; a Prometheus without the operator, and promtool, take the files that `write` makes of them.
"""

from pathlib import Path
from typing import Any

import yaml

from modelloop.errors import UserError
from modelloop.project import Project

RECORDING, ALERTS = "recording.rules.yaml", "alerts.rules.yaml"

Group = dict[str, Any]


def groups(project: Project, name: str) -> list[Group]:
    """The groups of a manifest.

    Args:
        project: the repository.
        name: RECORDING or ALERTS.

    Raises:
        UserError: the file cannot be read, or is no PrometheusRule.
    """
    path = project.root / "monitoring" / name
    try:
        manifest = yaml.safe_load(path.read_text(encoding="utf-8"))
        found: list[Group] = manifest["spec"]["groups"]
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no PrometheusRule with spec.groups: {error}") from error
    return found


def write(project: Project, folder: Path) -> list[Path]:
    """Write both manifests' groups into a folder, as Prometheus and promtool read rule files.

    Raises:
        UserError: a manifest cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name in (RECORDING, ALERTS):
        text = yaml.safe_dump({"groups": groups(project, name)}, sort_keys=False, width=1000)
        path = folder / name
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written
