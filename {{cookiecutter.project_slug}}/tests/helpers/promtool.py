"""The rule files of this repository, and promtool's unit tests of them."""

import json
import subprocess
from pathlib import Path

import yaml

from {{ cookiecutter.package_name }}.monitoring import tools
from {{ cookiecutter.package_name }}.settings import ROOT

FOLDER = ROOT / "monitoring" / "prometheus"


def groups(file: str) -> list[dict]:
    """The groups of a rule file."""
    return yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))["groups"]


def selector(name: str, **labels: str) -> str:
    """A series as PromQL and promtool write it."""
    return name + labelset(labels)


def labelset(labels: dict[str, str]) -> str:
    """Labels in braces."""
    return "{" + ", ".join(f'{label}="{value}"' for label, value in labels.items()) + "}"


def failures(folder: Path, groups: list[dict], tests: list[dict], every: str) -> str:
    """What promtool finds wrong when the groups are evaluated in this order; empty if nothing."""
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": every,
        # Without it promtool evaluates the groups in random order.
        "group_eval_order": [group["name"] for group in groups],
        "tests": tests,
    }
    # JSON is YAML, and quicker to write.
    _write(folder / "rules.yml", {"groups": groups})
    _write(folder / "tests.yml", document)
    command = [tools.find("promtool"), "test", "rules", folder / "tests.yml"]
    done = subprocess.run(command, capture_output=True, text=True)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def _write(path: Path, document: dict) -> None:
    path.write_text(json.dumps(document, ensure_ascii=False), encoding="utf-8")
