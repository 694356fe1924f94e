"""What promtool does not notice, such as a series that nobody exports or a label it has not."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta

import promql_parser as promql
import promtool
import pytest
import yaml
from exported import exported
from labels import Labels

from {{ cookiecutter.package_name }} import project
from {{ cookiecutter.package_name }}.monitoring import tools
from {{ cookiecutter.package_name }}.settings import ROOT

GROUPS = [*promtool.groups("recording.rules.yml"), *promtool.groups("alerts.rules.yml")]
RULES = [rule for group in GROUPS for rule in group["rules"]]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
CONFIG = promtool.FOLDER / "prometheus.yml"

TARGET = {"job", "instance"}
# What Prometheus itself writes, as far as every alert has it.
OF_PROMETHEUS = {
    "up": {"model_name"} | TARGET,
    "ALERTS": {"model_name", "severity", "alertname", "alertstate"},
    "ALERTS_FOR_STATE": {"model_name", "severity", "alertname"},
}


@pytest.mark.usefixtures("programs")
def test_prometheus_accepts_its_configuration_and_the_rules():
    command = [tools.find("promtool"), "check", "config", CONFIG]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_selector_names_the_model():
    wanted = ("model_name", project.SLUG, promql.MatchOp.Equal)
    assert [
        selector.prettify()
        for selector in nodes(promql.VectorSelector)
        if wanted not in [(m.name, m.value, m.op) for m in selector.matchers.matchers]
    ] == []


def test_every_series_is_exported_or_recorded_before_and_has_the_labels():
    known = {name: labels | TARGET for name, labels in exported().items()} | OF_PROMETHEUS
    faults: list[str] = []
    for rule in RULES:
        found = Labels(known, faults).of(promql.parse(rule["expr"])) | rule.get("labels", {}).keys()
        if "record" in rule:
            known[rule["record"]] = found
        else:
            used = re.findall(r"\$labels\.(\w+)", str(rule))
            faults += [f"{rule['alert']}: no label {x}" for x in {"model_name", *used} - found]
    assert faults == []


def test_rates_are_of_counters_and_over_four_scrapes_or_more():
    counter = re.compile(r".+_(total|bucket|count|sum)")
    for call in nodes(promql.Call):
        if call.func.name in ("rate", "increase", "irate"):
            assert counter.fullmatch(call.args[0].vector_selector.name), call.prettify()
    interval = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["global"]["scrape_interval"]
    for matrix in nodes(promql.MatrixSelector):
        assert matrix.range >= 4 * promql.parse_duration(interval), matrix.prettify()


def test_groups_are_evaluated_before_their_series_are_forgotten():
    # Prometheus looks five minutes back; what is recorded more seldom ends every pending alert.
    for group in GROUPS:
        assert promql.parse_duration(group["interval"]) <= timedelta(minutes=4), group["name"]


def test_no_bucket_is_asked_for_by_a_whole_number():
    # Prometheus 3 writes le="1" as le="1.0".
    for selector in nodes(promql.VectorSelector):
        for matcher in selector.matchers.matchers:
            assert matcher.name != "le" or re.fullmatch(r"\d+\.\d*[1-9]", matcher.value)


def test_every_alert_says_whom_it_concerns_and_where_to_look():
    for name, rule in ALERTS.items():
        assert rule["labels"].keys() >= {"severity", "team"}, name
        assert rule["labels"]["severity"] in ("page", "ticket", "none"), name
        texts = ("summary", "description", "runbook_url", "dashboard_url")
        assert all(rule["annotations"].get(text) for text in texts), name


def test_every_alert_has_a_runbook_and_every_runbook_an_alert():
    pages = {page.stem for page in (ROOT / "docs" / "runbooks").glob("*.md")}
    assert pages - {"README"} == ALERTS.keys()


def nodes(kind: type) -> Iterator[promql.Expr]:
    """The nodes of that kind in the expressions of all rules."""
    found: list[promql.Expr] = []
    for rule in RULES:
        promql.walk(promql.parse(rule["expr"]), found.append)
    return (node for node in found if isinstance(node, kind))
