"""Unit tests of Prometheus' rules, which promtool runs."""

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from modelloop.laptop import tools
from modelloop.monitoring import rules
from modelloop.project import Project

Test = dict[str, Any]  # of a unit-test file


def check(project: Project, tests: Path) -> str:
    """Run a unit-test file of the repository against the repository's rules.

    Args:
        project: the repository.
        tests: a file as promtool reads it, such as monitoring/alerts_test.yaml. Its `rule_files`
            are `recording.rules.yaml` and `alerts.rules.yaml`, the manifests of the same names.

    Returns:
        What promtool finds wrong; empty if nothing.

    Raises:
        UserError: a manifest cannot be read, or there is no promtool.
        OSError: the file cannot be read.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rules.write(project, folder)
        return _run(project, Path(shutil.copy(tests, folder)))


def failures(
    project: Project, folder: Path, groups: list[rules.Group], tests: list[Test], every: str
) -> str:
    """Run unit tests of rule groups, which are evaluated in the order given.

    Args:
        project: the repository, whose promtool runs.
        folder: where the files for promtool are written.
        groups: as `rules.groups` reads them.
        tests: entries of `tests` in a unit-test file.
        every: how often the rules are evaluated, such as `30s`.

    Returns:
        What promtool finds wrong; empty if nothing.

    Raises:
        UserError: there is no promtool.
    """
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": every,
        # Without it promtool evaluates the groups in random order.
        "group_eval_order": [group["name"] for group in groups],
        "tests": tests,
    }
    # JSON is YAML, and quicker to write.
    _write(folder / "rules.yml", {"groups": groups})
    return _run(project, _write(folder / "tests.yml", document))


def selector(name: str, **labels: str) -> str:
    """A series as PromQL and promtool write it, such as `up{job="model"}`."""
    return name + labelset(labels)


def labelset(labels: dict[str, str]) -> str:
    """Labels as PromQL and promtool write them, such as `{job="model", instance="a"}`."""
    return "{" + ", ".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def _run(project: Project, tests: Path) -> str:
    command = [str(tools.find(project, "promtool")), "test", "rules", str(tests)]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _write(path: Path, document: dict[str, Any]) -> Path:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
    return path
