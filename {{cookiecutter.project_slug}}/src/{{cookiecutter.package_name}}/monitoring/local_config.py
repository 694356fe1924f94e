"""The repository's own configuration of Prometheus and Alertmanager, for a run on this machine.

Only what cannot hold here is changed: addresses, files of keys, office hours. At the fast pace all
windows and waits are shortened, so that what takes hours can be seen in a minute.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

from ..settings import ROOT

SOURCES = ROOT / "monitoring"
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
# The fast pace: an hour is ten seconds, and nothing is shorter than what can be measured.
FASTER = 360
SHORTEST_WINDOW = 5  # seconds; five scrapes
SHORTEST_WAIT = 1


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
    """What was written."""

    prometheus: Path
    alertmanager: Path
    token: Path


def write(folder: Path, ports: Ports, *, fast: bool) -> Files:
    """Write the configuration into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    secrets = {
        "token": "only-on-this-machine",
        "pagerduty-routing-key": "none",
        "chat-webhook-url": f"http://127.0.0.1:{ports.inbox}/ticket",
    }
    for name, text in secrets.items():
        (folder / name).write_text(text)
    rules = ("recording.rules.yml", "alerts.rules.yml")
    for name in rules:
        text = (SOURCES / "prometheus" / name).read_text(encoding="utf-8")
        (folder / name).write_text(_faster(text) if fast else text, encoding="utf-8")
    prometheus = _prometheus(ports, fast=fast)
    prometheus["rule_files"] = list(rules)
    return Files(
        _dump(folder / "prometheus.yml", prometheus),
        _dump(folder / "alertmanager.yml", _alertmanager(folder, ports, fast=fast)),
        folder / "token",
    )


def _prometheus(ports: Ports, *, fast: bool) -> dict:
    config = _load("prometheus/prometheus.yml")
    if fast:
        config["global"] |= {"scrape_interval": "1s", "evaluation_interval": "1s"}
        config["global"]["scrape_timeout"] = "1s"
    targets = {"model": ports.metrics, "retrain": ports.receiver}
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [f"127.0.0.1:{targets[job['job_name']]}"]
    (alertmanager,) = config["alerting"]["alertmanagers"]
    alertmanager["static_configs"] = [{"targets": [f"127.0.0.1:{ports.alertmanager}"]}]
    return config


def _alertmanager(folder: Path, ports: Ports, *, fast: bool) -> dict:
    config = _load("alertmanager/alertmanager.yml")
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
        route.pop("active_time_intervals", None)  # whoever looks at this terminal is at work
        if fast:
            route["group_wait"] = f"{SHORTEST_WAIT}s"
            route["group_interval"] = f"{SHORTEST_WAIT}s"
    return config


def _faster(rules: str) -> str:
    """Rules with every window, wait and interval shortened; thresholds stay."""
    short = rules
    for pattern, least in {
        r"(?<=\[)\d+[smhd](?=[\]:])": SHORTEST_WINDOW,
        r"(?<=:)\d+[smhd](?=\])": SHORTEST_WINDOW,
        r"(?<=offset )\d+[smhd]\b": SHORTEST_WINDOW,
        r"(?<=for: )\d+[smhd]\b": SHORTEST_WAIT,
    }.items():
        short = re.sub(pattern, lambda found, least=least: _shortened(found[0], least), short)
    return re.sub(r"(?<=interval: )\d+[smhd]\b", "1s", short)


def _shortened(duration: str, least: int) -> str:
    seconds = int(duration[:-1]) * UNITS[duration[-1]]
    return f"{max(least, seconds // FASTER)}s"


def _load(name: str) -> dict:
    return yaml.safe_load((SOURCES / name).read_text(encoding="utf-8"))


def _dump(path: Path, config: dict) -> Path:
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")  # JSON is YAML
    return path
