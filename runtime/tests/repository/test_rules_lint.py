"""Faults of the rules that promtool does not find, such as a series that nobody exports."""

import re
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from exported import exported
from modelloop import Project
from modelloop.laptop import tools
from modelloop.monitoring import rules
from promql_labels import OF_PROMETHEUS, TARGET, Labels

PLATFORM = Path(__file__).resolve().parents[3] / "platform"


@pytest.fixture(scope="module")
def groups(either: Project) -> list[rules.Group]:
    return [*rules.groups(either, rules.RECORDING), *rules.groups(either, rules.ALERTS)]


@pytest.fixture(scope="module")
def every_rule(groups: list[rules.Group]) -> list[dict]:
    return [rule for group in groups for rule in group["rules"]]


@pytest.fixture(scope="module")
def alerts(every_rule: list[dict]) -> dict[str, dict]:
    return {rule["alert"]: rule for rule in every_rule if "alert" in rule}


@pytest.mark.usefixtures("programs")
def test_a_prometheus_of_several_models_takes_their_rules(
    project: Project, regression: Project, tmp_path: Path
):
    example = yaml.safe_load((PLATFORM / "prometheus.yml").read_text(encoding="utf-8"))
    (line,) = example["rule_files"]
    written = [
        path
        for each in (project, regression)
        for path in rules.write(each, (tmp_path / line.replace("penguins", each.slug)).parent)
    ]
    example["rule_files"].append(line.replace("penguins", regression.slug))
    config = tmp_path / "prometheus.yml"
    config.write_text(yaml.safe_dump(example), encoding="utf-8")

    command = [tools.find(project, "promtool"), "check", "config", config]
    done = subprocess.run(command, capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr
    assert [path for path in written if str(path) not in done.stdout] == []


def test_every_selector_names_the_model(either: Project, every_rule: list[dict]):
    wanted = ("model_name", either.slug, promql.MatchOp.Equal)
    assert [
        selector.prettify()
        for selector in nodes(every_rule, promql.VectorSelector)
        if wanted not in [(m.name, m.value, m.op) for m in selector.matchers.matchers]
    ] == []


def test_every_series_is_exported_or_recorded_before_and_has_the_labels(
    either: Project, every_rule: list[dict]
):
    known = {name: labels | TARGET for name, labels in exported(either.problem_type).items()}
    known |= OF_PROMETHEUS
    faults: list[str] = []
    for rule in every_rule:
        found = Labels(known, faults).of(promql.parse(rule["expr"])) | rule.get("labels", {}).keys()
        if "record" in rule:
            known[rule["record"]] = found
        else:
            used = re.findall(r"\$labels\.(\w+)", str(rule))
            faults += [f"{rule['alert']}: no label {x}" for x in {"model_name", *used} - found]
    assert faults == []


def test_rates_are_of_counters_and_over_four_scrapes_or_more(
    either: Project, every_rule: list[dict]
):
    counter = re.compile(r".+_(total|bucket|count|sum)")
    for call in nodes(every_rule, promql.Call):
        if call.func.name in ("rate", "increase", "irate"):
            assert counter.fullmatch(call.args[0].vector_selector.name), call.prettify()
    monitor = yaml.safe_load((either.root / "monitoring" / "pod-monitor.yaml").read_text())
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for matrix in nodes(every_rule, promql.MatrixSelector):
        assert matrix.range >= 4 * promql.parse_duration(endpoint["interval"]), matrix.prettify()


def test_groups_are_evaluated_before_their_series_are_forgotten(groups: list[rules.Group]):
    # Prometheus looks five minutes back; what is recorded more seldom ends every pending alert.
    for group in groups:
        assert promql.parse_duration(group["interval"]) <= timedelta(minutes=4), group["name"]


def test_no_bucket_is_selected_by_a_whole_number(every_rule: list[dict]):
    # Prometheus 3 writes le="1" as le="1.0".
    for selector in nodes(every_rule, promql.VectorSelector):
        for matcher in selector.matchers.matchers:
            assert matcher.name != "le" or re.fullmatch(r"\d+\.\d*[1-9]", matcher.value)


def test_every_alert_says_whom_it_concerns_and_where_to_look(alerts: dict[str, dict]):
    for name, rule in alerts.items():
        assert rule["labels"].keys() >= {"severity", "team"}, name
        assert rule["labels"]["severity"] in ("page", "ticket", "none"), name
        texts = ("summary", "description", "runbook_url", "dashboard_url")
        assert all(rule["annotations"].get(text) for text in texts), name


def test_every_alert_has_a_runbook_and_every_runbook_an_alert(
    either: Project, alerts: dict[str, dict]
):
    page = (either.root / "docs" / "runbooks.md").read_text(encoding="utf-8")
    assert {*re.findall("^## (.+)$", page, re.MULTILINE)} == alerts.keys()


def nodes(every_rule: list[dict], kind: type) -> Iterator[promql.Expr]:
    """The nodes of that kind in the expressions of the rules."""
    found: list[promql.Expr] = []
    for rule in every_rule:
        promql.walk(promql.parse(rule["expr"]), found.append)
    return (node for node in found if isinstance(node, kind))
