"""Every alert at its boundaries: what it reads goes in, when it fires comes out of promtool."""

import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from modelloop import Project
from modelloop.monitoring import rules
from modelloop.testing import promtool

pytestmark = pytest.mark.usefixtures("programs")

THIS = "this-model"  # stands for the short name of the repository that is tested
SAMPLES = 2000  # one a minute: longer than any case


class Case(NamedTuple):
    name: str
    series: dict[str, float | str]  # a value that stays, or promtool's notation
    firing: dict[float, int]  # how many alerts fire after so many minutes


class Alert(NamedTuple):
    labels: dict[str, str]  # of the alert that fires last in the first case
    shows: str  # its value, as the description shows it; empty: it does not
    cases: list[Case]


def of_model(name: str, **labels: str) -> str:
    return promtool.selector(name, model_name=THIS, **labels)


def of_version(name: str, version: str = "7", **labels: str) -> str:
    return of_model(name, model_version=version, **labels)


def then(minutes: int, first: float, second: float) -> str:
    """The first value up to and with that minute, then the second."""
    return f"{first}+0x{minutes} {second}+0x{SAMPLES}"


def count(start: int, stop: int, per_minute: float) -> str:
    """A counter that goes up between those minutes; the rate must be an exact float."""
    total = per_minute * (stop - start)
    return f"0+0x{start - 1} 0+{per_minute}x{stop - start} {total}+0x{SAMPLES}"


def burn(ratio: str, budget: float, wait: float, *windows: tuple[float, str, str]) -> list[Case]:
    cases = []
    bad = of_model(f"model:{ratio}:increase{windows[-1][1]}")
    for factor, *pair in windows:
        long, short = (of_model(f"model:{ratio}:ratio_rate{window}") for window in pair)
        over, under = 1.05 * factor * budget, 0.95 * factor * budget
        firing = {wait - 0.5: 0, wait: 1} if wait else {0: 1}
        cases += [
            Case(f"{pair} over", {long: over, short: over, bad: 10.5}, firing),
            Case(f"{pair[0]} under", {long: under, short: 1, bad: 999}, {wait + 60: 0}),
            Case(f"{pair[1]} under: is over", {long: 1, short: under, bad: 999}, {wait + 60: 0}),
            Case(f"{pair} of few", {long: 1, short: 1, bad: 9.5}, {wait + 60: 0}),
            Case(f"{pair} of just enough", {long: 1, short: 1, bad: 10}, {wait: 1}),
        ]
    return cases


def drift(psi: str, limit: float, rows: str, enough: int, wait: int, keep: int) -> list[Case]:
    over, under = 1.05 * limit, 0.95 * limit
    stop = wait + 5
    return [
        Case("over", {psi: over, rows: 1.05 * enough}, {wait - 0.5: 0, wait: 1}),
        Case("under", {psi: under, rows: 100 * enough}, {wait + 60: 0}),
        Case("too few rows", {psi: 9, rows: 0.95 * enough}, {wait + 60: 0}),
        Case("just enough rows", {psi: over, rows: enough}, {wait: 1}),
        Case("rows of another version", {psi: 9, rows.replace('"7"', '"8"'): 9999}, {wait + 60: 0}),
        Case(
            "kept after it ended",
            {psi: then(stop, over, under), rows: 2 * enough},
            {stop + keep + 0.5: 1, stop + keep + 1: 0},
        ),
    ]


MASS = {"feature": "mass"}
FEATURE_1H = of_version("model:feature_psi:1h", **MASS)
FEATURE_1D = of_version("model:feature_psi:1d", **MASS)
KNOWN_1H = of_version("model:feature_known:increase1h", **MASS)
KNOWN_1D = of_version("model:feature_known:increase1d", **MASS)
FEATURE_ROWS = of_version("model:feature_rows:increase1h", **MASS)
MISSING = of_version("model:feature_bin:ratio1h", **MASS, bin="missing")
OTHER = of_version("model:feature_bin:ratio1h", **MASS, bin="other")
USUAL = of_version("model:feature_reference:ratio", **MASS, bin="missing")
USUAL_OTHER = of_version("model:feature_reference:ratio", **MASS, bin="other")
PREDICTION = of_version("model:prediction_psi:1h")
PREDICTION_ROWS = of_version("model:prediction_rows:increase1h")
OUTLIERS = of_version("model:outlier_rows:ratio1h")
USUAL_OUTLIERS = of_version("model:outlier_reference:ratio")
Z = of_version("model:outlier_rows:zscore1h")
ROWS, ROWS_8 = (of_version("model:rows:increase1h", version) for version in "78")
LABELS, LABELS_8 = (of_version("model:feedback:increase1d", version) for version in "78")
TRAINED, TRAINED_8 = (of_version("model_trained_timestamp_seconds", version) for version in "78")
INFO_A, INFO_B = (of_version("model_info", instance=i) for i in "ab")
INFO_C, INFO_D = (of_version("model_info", version, instance="c") for version in "89")
UP_A, UP_B, UP_C = (of_model("up", job="model", instance=i) for i in "abc")
UP_OF_JOB = of_model("up", job="another", instance="a")
UP_OF_MODEL = promtool.selector("up", job="model", model_name="another", instance="c")
RETRAIN_OF_ANOTHER = promtool.selector("retrain_requests_total", model_name="x", outcome="busy")
REQUESTS_A, REQUESTS_B = (of_version("model_requests_total", instance=i, code="200") for i in "ab")
CPU_A, CPU_B = (of_version("process_cpu_seconds_total", instance=i) for i in "ab")
CORES_A, CORES_B = (of_version("model_cpu_limit_cores", instance=i) for i in "ab")
RSS_A, RSS_B = (of_version("process_resident_memory_bytes", instance=i) for i in "ab")
LIMIT_A, LIMIT_B = (of_version("model_memory_limit_bytes", instance=i) for i in "ab")

PAGE, TICKET = {"severity": "page"}, {"severity": "ticket"}
VERSION = {"model_version": "7"}
RETRAIN = {"action": "retrain"}
DAY = 24 * 60
MONTH = 30 * 86400


def retrain(outcome: str) -> str:
    return of_model("retrain_requests_total", outcome=outcome)


def accuracy(value: float | str, z: float, labels: float) -> dict[str, float | str]:
    """An accuracy by labels, beside one of 0.9 on the test rows."""
    return {of_version("model:accuracy_reference:ratio"): 0.9} | {
        of_version("model:accuracy:mean1d"): value,
        of_version("model:accuracy:zscore1d"): z,
        LABELS: labels,
    }


def error(value: float | str, z: float, labels: float) -> dict[str, float | str]:
    """A mean absolute error by labels, beside one of 4 on the test rows."""
    return {of_version("model:absolute_error_reference:value"): 4} | {
        of_version("model:absolute_error:mean1d"): value,
        of_version("model:absolute_error:zscore1d"): z,
        LABELS: labels,
    }


def ticket(
    days: float, state: str = "firing", name: str = "ModelStale", severity: str = "ticket"
) -> dict[str, float]:
    """What Prometheus records of an alert that began so many days ago."""
    labels = {"alertname": name, "severity": severity, "signal": "age", **RETRAIN}
    return {
        of_model("ALERTS_FOR_STATE", **labels): -days * 86400,
        of_model("ALERTS", alertstate=state, **labels): 1,
    }


# Those of either problem type.
COMMON = {
    "ModelErrorBudgetBurnFast": Alert(
        PAGE | {"slo": "request_errors"},
        "1.512%",
        burn("request_errors", 0.001, 0, (14.4, "1h", "5m"), (6, "6h", "30m")),
    ),
    "ModelErrorBudgetBurnSlow": Alert(
        TICKET | {"slo": "request_errors"},
        "0.315%",
        burn("request_errors", 0.001, 15, (3, "1d", "2h"), (1, "3d", "6h")),
    ),
    "ModelLatencyBudgetBurnFast": Alert(
        PAGE | {"slo": "request_slow"},
        "15.12%",
        burn("request_slow", 0.01, 0, (14.4, "1h", "5m"), (6, "6h", "30m")),
    ),
    "ModelLatencyBudgetBurnSlow": Alert(
        TICKET | {"slo": "request_slow"},
        "3.15%",
        burn("request_slow", 0.01, 15, (3, "1d", "2h"), (1, "3d", "6h")),
    ),
    "ModelFeatureDrift": Alert(
        TICKET | RETRAIN | VERSION | MASS | {"signal": "feature_drift"},
        "0.21",
        drift(FEATURE_1H, 0.2, KNOWN_1H, 300, wait=15, keep=60),
    ),
    "ModelFeatureDriftSlow": Alert(
        TICKET | RETRAIN | VERSION | MASS | {"signal": "feature_drift"},
        "0.11",
        drift(FEATURE_1D, 0.1, KNOWN_1D, 2000, wait=60, keep=360),
    ),
    "ModelPredictionDrift": Alert(
        TICKET | RETRAIN | VERSION | {"signal": "prediction_drift"},
        "0.21",
        drift(PREDICTION, 0.2, PREDICTION_ROWS, 300, wait=15, keep=60),
    ),
    "ModelInputMissing": Alert(
        TICKET | VERSION | MASS | {"signal": "data_quality", "bin": "missing"},
        "7.35%",
        [
            Case("over", {MISSING: 0.0735, USUAL: 0.02, FEATURE_ROWS: 315}, {14.5: 0, 15: 1}),
            Case("under", {MISSING: 0.0665, USUAL: 0.02, FEATURE_ROWS: 9999}, {60: 0}),
            Case("other", {OTHER: 0.0735, USUAL_OTHER: 0.02, FEATURE_ROWS: 315}, {15: 1}),
            Case("usual for other", {MISSING: 0.6, USUAL_OTHER: 0.02, FEATURE_ROWS: 999}, {60: 0}),
            Case("too few rows", {MISSING: 0.9, USUAL: 0.02, FEATURE_ROWS: 285}, {60: 0}),
            Case("just enough rows", {MISSING: 0.9, USUAL: 0.02, FEATURE_ROWS: 300}, {15: 1}),
        ],
    ),
    "ModelOutlierRateHigh": Alert(
        TICKET | VERSION | {"signal": "outliers"},
        "3.15%",
        [
            Case(
                "over",
                {OUTLIERS: 0.0315, USUAL_OUTLIERS: 0.01, Z: 5.25, ROWS: 315},
                {14.5: 0, 15: 1},
            ),
            Case("under", {OUTLIERS: 0.0285, USUAL_OUTLIERS: 0.01, Z: 99, ROWS: 9999}, {60: 0}),
            Case("by chance", {OUTLIERS: 0.9, USUAL_OUTLIERS: 0.01, Z: 4.75, ROWS: 9999}, {60: 0}),
            Case("too few rows", {OUTLIERS: 0.9, USUAL_OUTLIERS: 0.01, Z: 99, ROWS: 285}, {60: 0}),
            Case(
                "just enough rows", {OUTLIERS: 0.9, USUAL_OUTLIERS: 0.01, Z: 99, ROWS: 300}, {15: 1}
            ),
        ],
    ),
    "ModelFeedbackMissing": Alert(
        TICKET | {"signal": "accuracy"},
        "1",
        [
            Case("no label", {ROWS: 1, LABELS: 0}, {359.5: 0, 360: 1}),
            Case("no rows either", {ROWS: 0, LABELS: 0}, {420: 0}),
            Case("a label", {ROWS: 999, LABELS: 1}, {420: 0}),
            Case("of the version before", {ROWS_8: 999, LABELS: 1, LABELS_8: 0}, {420: 0}),
            Case("of no version", {ROWS: 9, ROWS_8: 9, LABELS: 0, LABELS_8: 0}, {360: 1}),
        ],
    ),
    "ModelStale": Alert(
        TICKET | RETRAIN | VERSION | {"signal": "age"},
        "31d 13h 0m 0s",
        [
            Case("old", {TRAINED: -1.05 * MONTH}, {59.5: 0, 60: 1}),
            Case("not old", {TRAINED: -0.95 * MONTH}, {120: 0}),
            Case("one of two", {TRAINED: -2 * MONTH, TRAINED_8: 0}, {60: 1}),
        ],
    ),
    "ModelVersionSkew": Alert(
        TICKET,
        "2",
        [
            Case("two", {INFO_A: 1, INFO_B: 1, INFO_C: 1}, {119.5: 0, 120: 1}),
            Case("three", {INFO_A: 1, INFO_C: 1, INFO_D: 1}, {120: 1}),
            Case("one, twice", {INFO_A: 1, INFO_B: 1}, {180: 0}),
        ],
    ),
    "ModelAbsent": Alert(
        PAGE,
        "",
        [
            Case("nothing", {}, {4.5: 0, 5: 1}),
            Case("one replica", {INFO_A: 1}, {60: 0}),
            Case("another model", {promtool.selector("model_info", model_name="x"): 1}, {5: 1}),
        ],
    ),
    "ModelDown": Alert(
        PAGE,
        "",
        [
            Case("all", {UP_A: 0, UP_B: 0, UP_OF_JOB: 1}, {0.5: 0, 1: 1}),
            Case("not all", {UP_A: 0, UP_B: 1}, {60: 0}),
            Case("another job and model", {UP_OF_JOB: 0, UP_OF_MODEL: 0}, {60: 0}),
        ],
    ),
    "ModelReplicaDown": Alert(
        TICKET | {"job": "model", "instance": "a"},
        "",
        [
            Case("one of two", {UP_A: 0, UP_B: 1}, {4.5: 0, 5: 1}),
            Case("two of three", {UP_A: 0, UP_B: 0, UP_C: 1}, {5: 2}),
            Case("none", {UP_A: 1, UP_B: 1}, {60: 0}),
            Case("all", {UP_A: 0, UP_B: 0, UP_OF_JOB: 1}, {60: 0}),
            Case("another job", {UP_OF_JOB: 0, UP_B: 1}, {60: 0}),
            Case("another model", {UP_OF_MODEL: 0, UP_OF_MODEL.replace('"c"', '"d"'): 1}, {60: 0}),
        ],
    ),
    "ModelNoTraffic": Alert(
        TICKET,
        "0.1",
        [
            # Half an hour without, then half an hour more.
            Case(
                "stopped",
                {REQUESTS_A: count(1, DAY + 60, 6.25)},
                {DAY + 118.5: 0, DAY + 119.5: 1},
            ),
            Case("was little", {REQUESTS_A: count(1, DAY + 60, 5.75)}, {DAY + 150: 0}),
            Case(
                "of one replica",
                {REQUESTS_A: count(1, DAY + 60, 6.25), REQUESTS_B: count(1, SAMPLES, 0.125)},
                {DAY + 150: 0},
            ),
            # Over 0.1 per second in the 29th of yesterday's minutes with traffic.
            Case(
                "yesterday's began at 60 min",
                {REQUESTS_A: count(60, 200, 6.25)},
                {850: 0, DAY + 118.5: 0, DAY + 119: 1},
            ),
        ],
    ),
    "ModelCpuSaturated": Alert(
        TICKET | VERSION | {"instance": "a"},
        "1.9",
        [
            # The rate over 5 min reaches the limit after these.
            Case("over", {CPU_A: "0+113.4x60", CORES_A: 2}, {19.5: 0, 20: 1}),
            Case("under", {CPU_A: "0+102.6x60", CORES_A: 2}, {60: 0}),
            Case(
                "one of two",
                {CPU_A: "0+60x60", CORES_A: 1, CPU_B: "0+60x60", CORES_B: 2},
                {30: 1},
            ),
        ],
    ),
    "ModelMemoryHigh": Alert(
        PAGE | VERSION | {"instance": "a"},
        "901.2Mi",
        [
            Case("over", {RSS_A: 945e6, LIMIT_A: 1e9}, {9.5: 0, 10: 1}),
            Case("under", {RSS_A: 855e6, LIMIT_A: 1e9}, {60: 0}),
            Case("one of two", {RSS_A: 1e9, LIMIT_A: 1e9, RSS_B: 1e9, LIMIT_B: 2e9}, {60: 1}),
        ],
    ),
    "RetrainRequestsFailing": Alert(
        PAGE,
        "1",
        [
            Case("refused", {retrain("refused"): then(4, 0, 1)}, {14.5: 0, 15: 1}),
            Case("unavailable", {retrain("unavailable"): then(4, 0, 1)}, {63: 1, 66: 0}),
            Case("started", {retrain("started"): then(4, 0, 1)}, {15: 0, 60: 0}),
            Case("none", {retrain("refused"): 0}, {60: 0}),
            Case("nothing to do", {retrain("duplicate"): then(4, 0, 1)}, {15: 0, 60: 0}),
            Case("both", {retrain("refused"): then(4, 0, 1), retrain("unavailable"): 0}, {15: 1}),
            Case(
                "started at last",
                {retrain("unavailable"): then(4, 0, 3), retrain("started"): then(8, 0, 1)},
                {15: 0, 60: 0},
            ),
            Case(
                "under way already",
                {retrain("unavailable"): then(4, 0, 3), retrain("busy"): then(8, 0, 1)},
                {15: 0, 60: 0},
            ),
            Case(
                "started long before",
                {retrain("unavailable"): then(90, 0, 1), retrain("started"): then(4, 0, 1)},
                {101: 1},
            ),
        ],
    ),
    "RetrainReceiverAbsent": Alert(
        TICKET,
        "",
        [
            Case("absent", {}, {14.5: 0, 15: 1}),
            Case("there", {retrain("started"): 0}, {60: 0}),
            Case("another model's", {RETRAIN_OF_ANOTHER: 0}, {15: 1}),
        ],
    ),
    "TicketIgnored": Alert(
        PAGE | {"ticket": "ModelStale"},
        "3d 3h 36m 0s",
        [
            Case("open", ticket(3.15), {0: 1}),
            Case("not so long", ticket(2.85), {60: 0}),
            Case("not yet open", ticket(9, "pending"), {60: 0}),
            Case("a page", ticket(9, severity="page"), {60: 0}),
            Case("two", ticket(9) | ticket(9, name="ModelFeatureDrift"), {0: 2}),
        ],
    ),
    "Watchdog": Alert({"severity": "none"}, "", [Case("always", {}, {0: 1})]),
}

# Those of one problem type.
OF_CLASSIFICATION = {
    "ModelAccuracyLow": Alert(
        PAGE | RETRAIN | VERSION | {"signal": "accuracy"},
        "84.75%",
        [
            Case("low", accuracy(0.8475, -3.15, 105), {29.5: 0, 30: 1}),
            Case("not low", accuracy(0.8525, -99, 9999), {90: 0}),
            Case("by chance", accuracy(0.1, -2.85, 9999), {90: 0}),
            Case("too few labels", accuracy(0.1, -99, 95), {90: 0}),
            Case("just enough labels", accuracy(0.1, -99, 100), {30: 1}),
            Case("kept after it ended", accuracy(then(35, 0.1, 0.9), -99, 999), {395.5: 1, 396: 0}),
        ],
    ),
}
OF_REGRESSION = {
    "ModelErrorHigh": Alert(
        PAGE | RETRAIN | VERSION | {"signal": "accuracy"},
        "5.25",
        [
            Case("high", error(5.25, 3.15, 105), {29.5: 0, 30: 1}),
            Case("not high", error(4.75, 99, 9999), {90: 0}),
            Case("by chance", error(99, 2.85, 9999), {90: 0}),
            Case("too few labels", error(99, 99, 95), {90: 0}),
            Case("just enough labels", error(99, 99, 100), {30: 1}),
            Case("kept after it ended", error(then(35, 99, 4), 99, 999), {395.5: 1, 396: 0}),
        ],
    ),
}
ALERTS = COMMON | OF_CLASSIFICATION | OF_REGRESSION


@pytest.fixture
def repository(alert: str, project: Project, regression: Project) -> Project:
    """The repository whose rule is tested; the common rules are the same in both."""
    return regression if alert in OF_REGRESSION else project


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_fires_where_it_should_and_says_why(
    repository: Project, alert: str, tmp_path: Path
):
    assert failures(repository, tmp_path, alerts_of(repository)[alert]) == ""


@pytest.mark.parametrize("alert", ALERTS)
def test_a_description_shows_the_value_and_links_lead_to_this_alert(
    repository: Project, alert: str
):
    texts = alerts_of(repository)[alert]["annotations"]
    assert ("$value" in texts["description"]) == bool(ALERTS[alert].shows)
    page = f"{repository.repository_url}/blob/main/docs/runbooks.md"
    assert texts["runbook_url"] == f"{page}#{alert.lower()}"
    dashboard = f"{repository.grafana_url}/d/model-health?var-model_name={repository.slug}"
    assert texts["dashboard_url"] == dashboard


def test_every_alert_is_tested(either: Project):
    of_one = {"classification": OF_CLASSIFICATION, "regression": OF_REGRESSION}
    assert alerts_of(either).keys() == COMMON.keys() | of_one[either.problem_type].keys()


def test_the_common_alerts_are_the_same_for_both_problem_types(
    project: Project, regression: Project
):
    first, second = (
        {
            alert: json.dumps(rule).replace(one.slug, THIS)
            for alert, rule in alerts_of(one).items()
            if alert in COMMON
        }
        for one in (project, regression)
    )
    assert first == second


def test_the_example_of_a_test_passes(either: Project):
    assert promtool.check(either, either.root / "monitoring" / "alerts_test.yaml") == ""


@pytest.mark.parametrize(
    ("old", "new", "noticed"),
    [
        ("> 0.2\n", "> 0.9\n", "opens a ticket"),
        ("> 0.2\n", "> 0.03\n", "is left alone"),
        ("signal: feature_drift", "signal: drift", "feature_drift"),
    ],
)
def test_the_example_of_a_test_notices_a_changed_rule(
    project: Project, tmp_path: Path, old: str, new: str, noticed: str
):
    copy = project.model_copy(update={"root": tmp_path})
    shutil.copytree(project.root / "monitoring", tmp_path / "monitoring")
    path = tmp_path / "monitoring" / rules.ALERTS
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")

    found = promtool.check(copy, tmp_path / "monitoring" / "alerts_test.yaml")

    assert noticed in found


@cache
def alerts_of(project: Project) -> dict[str, dict]:
    """The repository's alert rules, by name; do not change them."""
    groups = rules.groups(project, rules.ALERTS)
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def failures(project: Project, folder: Path, rule: dict) -> str:
    """What promtool finds wrong with a rule; empty if nothing."""
    name = rule["alert"]
    tests = [unit_test(project, name, case) for case in ALERTS[name].cases]
    first = ALERTS[name].cases[0]
    expected = {
        "exp_labels": labels(project, name),
        "exp_annotations": annotations(project, name),
    }
    tests[0]["alert_rule_test"] = [
        {"eval_time": seconds(max(first.firing)), "alertname": name, "exp_alerts": [expected]}
    ]
    groups = [{"name": "alert", "rules": [rule]}]
    return promtool.failures(project, folder, groups, tests, every="30s")


def unit_test(project: Project, alert: str, case: Case) -> dict:
    firing = promtool.selector("ALERTS", alertname=alert, alertstate="firing")
    return {
        "name": case.name,
        "interval": "1m",
        "input_series": [
            {
                "series": series.replace(THIS, project.slug),
                "values": v if isinstance(v, str) else f"{v}+0x{SAMPLES}",
            }
            for series, v in case.series.items()
        ],
        "promql_expr_test": [
            {
                "expr": f"count({firing}) or vector(0)",
                "eval_time": seconds(minute),
                "exp_samples": [{"labels": "{}", "value": number}],
            }
            for minute, number in case.firing.items()
        ],
    }


def labels(project: Project, alert: str) -> dict[str, str]:
    """Those of the alert that fires."""
    return {"model_name": project.slug, "team": project.owner_team} | ALERTS[alert].labels


def annotations(project: Project, alert: str) -> dict[str, str]:
    """The rule's texts, filled in without Prometheus."""
    values = {f"$labels.{label}": value for label, value in labels(project, alert).items()}
    values |= {"$value": ALERTS[alert].shows, "$labels.alertname": values.get("$labels.ticket")}
    # What stands after a | is how the value is written.
    placeholder = re.compile(r"\{\{ (\S+)[^}]* \}\}")
    return {
        name: placeholder.sub(lambda found: values[found[1]], text)
        for name, text in alerts_of(project)[alert]["annotations"].items()
    }


def seconds(minutes: float) -> str:
    return f"{minutes * 60:.0f}s"
