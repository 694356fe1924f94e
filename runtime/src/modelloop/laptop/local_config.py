"""The configuration of Prometheus and Alertmanager, for a run on this machine.

Rules and routes are the repository's own. Only what cannot hold here is changed: addresses, files
of keys, office hours. At the fast pace all windows and waits are shortened, so that what takes
hours can be seen in a minute.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelloop.monitoring import rules
from modelloop.monitoring.rules import Group
from modelloop.project import Project

RULES = (rules.RECORDING, rules.ALERTS)
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# The fast pace: an hour is ten seconds, and nothing is shorter than what can be measured.
FASTER = 360
SHORTEST_WINDOW = 5  # seconds; five scrapes
SHORTEST_WAIT = 1
# The durations in PromQL: of a range, of the steps of a subquery, of an offset.
WINDOW = re.compile(r"(?<=\[)\d+[smhd](?=[\]:])|(?<=:)\d+[smhd](?=\])|(?<=offset )\d+[smhd]\b")


@dataclass(frozen=True)
class Ports:
    """Where everything listens, on 127.0.0.1."""

    serve: int = 9000
    metrics: int = 6000
    prometheus: int = 9090
    alertmanager: int = 9093
    receiver: int = 9300
    inbox: int = 9301


@dataclass(frozen=True)
class Files:
    """The files that were written."""

    prometheus: Path
    alertmanager: Path
    token: Path


def write(project: Project, folder: Path, ports: Ports, *, fast: bool) -> Files:
    """Write the configuration into a folder, made where there is none.

    Raises:
        UserError: a manifest of rules cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    secrets = {
        "token": "only-on-this-machine",
        "pagerduty-routing-key": "none",
        "chat-webhook-url": f"http://127.0.0.1:{ports.inbox}/ticket",
    }
    for name, text in secrets.items():
        (folder / name).write_text(text)
    for name in RULES:
        groups = rules.groups(project, name)
        _dump(folder / name, {"groups": _faster(groups) if fast else groups})
    return Files(
        _dump(folder / "prometheus.yml", _prometheus(project.slug, ports, fast=fast)),
        _dump(folder / "alertmanager.yml", _alertmanager(project, folder, ports, fast=fast)),
        folder / "token",
    )


def _prometheus(model_name: str, ports: Ports, *, fast: bool) -> dict[str, Any]:
    every = "1s" if fast else "15s"
    return {
        "global": {
            "scrape_interval": every,
            "scrape_timeout": "1s" if fast else "10s",
            "evaluation_interval": every,
        },
        "rule_files": [*RULES],
        "scrape_configs": [
            {
                "job_name": "model",
                "honor_labels": True,  # the server puts model_name on its series itself
                # The label is for `up`, which the server does not export.
                "static_configs": [_target(ports.metrics, model_name=model_name)],
            },
            {"job_name": "retrain", "static_configs": [_target(ports.receiver)]},
        ],
        "alerting": {"alertmanagers": [{"static_configs": [_target(ports.alertmanager)]}]},
    }


def _target(port: int, **labels: str) -> dict[str, Any]:
    return {"targets": [f"127.0.0.1:{port}"], "labels": labels}


def _alertmanager(project: Project, folder: Path, ports: Ports, *, fast: bool) -> dict[str, Any]:
    text = (project.root / "monitoring" / "alertmanager.yml").read_text(encoding="utf-8")
    config: dict[str, Any] = yaml.safe_load(text)
    inbox = f"http://127.0.0.1:{ports.inbox}"
    for receiver in config["receivers"]:
        for pager in receiver.get("pagerduty_configs", []):
            pager["url"] = f"{inbox}/page"
            pager["routing_key_file"] = str(folder / "pagerduty-routing-key")
        for chat in receiver.get("slack_configs", []):
            chat["api_url_file"] = str(folder / "chat-webhook-url")
        for hook in receiver.get("webhook_configs", []):
            retrain = receiver["name"] == "retrain"
            alerts = f"http://127.0.0.1:{ports.receiver}/alerts"
            hook["url"] = alerts if retrain else f"{inbox}/alive"
            hook["http_config"]["authorization"]["credentials_file"] = str(folder / "token")
    for route in [config["route"], *config["route"]["routes"]]:
        route.pop("active_time_intervals", None)  # it is always office hours here
        if fast:
            route["group_wait"] = f"{SHORTEST_WAIT}s"
            route["group_interval"] = f"{SHORTEST_WAIT}s"
    return config


def _faster(groups: list[Group]) -> list[Group]:
    """Groups with every window, wait and interval shortened; thresholds stay."""
    for group in groups:
        group["interval"] = "1s"
        for rule in group["rules"]:
            rule["expr"] = WINDOW.sub(_shorter_window, rule["expr"])
            for wait in rule.keys() & {"for", "keep_firing_for"}:
                rule[wait] = _shortened(rule[wait], SHORTEST_WAIT)
    return groups


def _shorter_window(found: re.Match[str]) -> str:
    return _shortened(found[0], SHORTEST_WINDOW)


def _shortened(duration: str, least: int) -> str:
    seconds = int(duration[:-1]) * UNITS[duration[-1]]
    return f"{max(least, seconds // FASTER)}s"


def _dump(path: Path, config: dict) -> Path:
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")  # JSON is YAML
    return path
