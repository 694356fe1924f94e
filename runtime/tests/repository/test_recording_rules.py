"""What the recording rules compute, against numpy on the same counters.

Prometheus 2 counts a sample on the edge of a window and Prometheus 3 does not. So everything is
looked at half a step after a scrape, or while the counters go up evenly.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from modelloop import Project
from modelloop.monitoring import rules
from modelloop.testing import promtool

pytestmark = pytest.mark.usefixtures("programs")

Labels = dict[str, str]
# What the counters had reached before, as those of a server that has run for a while.
BEFORE = 100_000
REPLICAS = {"a": 500, "b": 40}  # rows a minute
FEATURES = {
    "mass": [*(f"b{i}" for i in range(10)), "other", "missing"],
    "colour": ["red", "green", "blue", "other", "missing"],
}
PREDICTIONS = ["yes", "no", "perhaps", "other", "missing"]
KNOWN = slice(None, -2)  # all but other and missing
RANDOM = np.random.default_rng(0)


class Scraped:
    """Series that were scraped every `step` minutes, and what the rules are to make of them."""

    def __init__(self, project: Project, step: int, steps: int, every: str | None = None) -> None:
        self.project = project
        self.step, self.steps = step, steps
        self.now = f"{(steps + 0.5) * step * 60:.0f}s"
        self.every = every or self.now  # one evaluation will do
        self.series: list[dict] = []
        self.expected: list[dict] = []

    def gauge(self, name: str, value: float, **labels: str) -> None:
        self._add(name, labels, [value] * (self.steps + 1))

    def counter(self, name: str, increments: np.ndarray, **labels: str) -> np.ndarray:
        """Add a counter that goes up by so much before each scrape but the first."""
        self._add(name, labels, [BEFORE, *(BEFORE + np.cumsum(increments))])
        return np.asarray(increments, dtype=float)

    def increase(self, increments: np.ndarray, minutes: int) -> float:
        """What Prometheus estimates for the window, from the scrapes within."""
        seen = minutes // self.step - 1
        return increments[-seen:].sum() * minutes / (seen * self.step)

    def expect(self, record: str, value: float, **labels: str) -> None:
        labels = self._named(labels)
        wanted = promtool.selector(record, **labels)
        value = float(value)  # numpy writes its own numbers otherwise
        near = 1e-6 * max(1, abs(value))
        self._check(f"abs({wanted} - {value}) < bool {near}", 1, **labels)

    def expect_nothing(self, record: str, **labels: str) -> None:
        wanted = promtool.selector(record, **self._named(labels))
        self._check(f"count({wanted}) or vector(0)", 0)

    def failures(self, folder: Path, *groups: str) -> str:
        slug = self.project.slug
        every_group = rules.groups(self.project, rules.RECORDING)
        chosen = [g for g in every_group if g["name"].removeprefix(f"{slug}-") in groups]
        assert len(chosen) == len(groups)
        # Another model with the same series: it must change nothing.
        others = [
            s | {"series": s["series"].replace(f'"{slug}"', '"another"')} for s in self.series
        ]
        self._check('count({__name__=~"model:.+", model_name="another"}) or vector(0)', 0)
        test = {
            "interval": f"{self.step}m",
            "input_series": self.series + others,
            "promql_expr_test": self.expected,
        }
        return promtool.failures(self.project, folder, chosen, [test], self.every)

    def _add(self, name: str, labels: Labels, values: list[float]) -> None:
        series = promtool.selector(name, **self._named(labels))
        text = " ".join(str(float(value)) for value in values)
        self.series.append({"series": series, "values": text})

    def _check(self, query: str, value: float, **labels: str) -> None:
        samples = [{"labels": promtool.labelset(labels), "value": value}]
        self.expected.append({"expr": query, "eval_time": self.now, "exp_samples": samples})

    def _named(self, labels: Labels) -> Labels:
        """The labels with the model's, of version 7 unless they say another; of none if empty."""
        labels = {"model_name": self.project.slug, "model_version": "7"} | labels
        return {name: value for name, value in labels.items() if value}


def psi(counts: np.ndarray, reference: np.ndarray) -> float:
    shares = (counts + 20 * reference) / (counts.sum() + 20)
    return np.sum((shares - reference) * np.log(shares / reference))


def shares(bins: list[str]) -> np.ndarray:
    return RANDOM.dirichlet(np.full(len(bins), 2.0))


def drifting_rows(
    scraped: Scraped, steps: Callable[[float, np.ndarray], np.ndarray]
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Rows and predictions of two replicas; returns for each its reference and its increments."""
    found = {}
    for name, bins in {**FEATURES, "": PREDICTIONS}.items():
        kind = "feature" if name else "prediction"
        reference = shares(bins)
        total = 0
        for replica, rows in REPLICAS.items():
            increments = steps(rows, shares(bins))
            total = total + increments
            for label, share, one in zip(bins, reference, increments.T, strict=True):
                at = {"feature": name, "bin": label, "instance": replica}
                scraped.counter(f"model_{kind}_bin_total", one, **at)
                scraped.gauge(f"model_{kind}_reference_ratio", share, **at)
        found[name] = reference, total
    return found


def test_drift_over_an_hour_is_that_of_all_replicas_together(project, tmp_path):
    scraped = Scraped(project, step=1, steps=150)
    data = drifting_rows(scraped, lambda rows, p: RANDOM.poisson(rows * p, (150, len(p))))
    for name, bins in FEATURES.items():
        reference, increments = data[name]
        counts = np.array([scraped.increase(one, 60) for one in increments.T])
        known = reference[KNOWN] / reference[KNOWN].sum()
        scraped.expect("model:feature_psi:1h", psi(counts[KNOWN], known), feature=name)
        scraped.expect("model:feature_known:increase1h", counts[KNOWN].sum(), feature=name)
        scraped.expect("model:feature_rows:increase1h", counts.sum(), feature=name)
        for label, share, usual in zip(bins[-2:], counts[-2:], reference[-2:], strict=True):
            at = {"feature": name, "bin": label}
            scraped.expect("model:feature_bin:ratio1h", share / counts.sum(), **at)
            scraped.expect("model:feature_reference:ratio", usual, **at)
    reference, increments = data[""]
    counts = np.array([scraped.increase(one, 60) for one in increments.T])
    scraped.expect("model:prediction_psi:1h", psi(counts, reference))
    scraped.expect("model:prediction_rows:increase1h", counts.sum())
    assert scraped.failures(tmp_path, "drift-hour") == ""


def test_drift_over_a_day_counts_the_last_24_full_hours(project, tmp_path):
    # Evenly within an hour, so that each Prometheus finds the same number for it.
    scraped = Scraped(project, step=5, steps=12 * 27 + 6, every="30m")

    def evenly(rows: float, p: np.ndarray) -> np.ndarray:
        return np.repeat(RANDOM.poisson(rows * p / 20, (28, len(p))), 12, axis=0)[: scraped.steps]

    data = drifting_rows(scraped, evenly)
    full_hours = slice(-6 - 24 * 12, -6)
    for name in FEATURES:
        reference, increments = data[name]
        counts = increments[full_hours].sum(axis=0)[KNOWN]
        known = reference[KNOWN] / reference[KNOWN].sum()
        scraped.expect("model:feature_psi:1d", psi(counts, known), feature=name)
        scraped.expect("model:feature_known:increase1d", counts.sum(), feature=name)
    reference, increments = data[""]
    counts = increments[full_hours].sum(axis=0)
    scraped.expect("model:prediction_psi:1d", psi(counts, reference))
    scraped.expect("model:prediction_rows:increase1d", counts.sum())
    assert scraped.failures(tmp_path, "drift-hour", "drift-day") == ""


def test_missing_and_refused_values_are_no_drift(project, tmp_path):
    scraped = Scraped(project, step=1, steps=150)
    bins = FEATURES["mass"]
    rows = np.array([*[10] * 10, 400, 900])  # of the known values as many as in the training
    for label, count in zip(bins, rows, strict=True):
        share = 0.01 if label in ("other", "missing") else 0.098
        scraped.gauge("model_feature_reference_ratio", share, feature="mass", bin=label)
        scraped.counter("model_feature_bin_total", np.full(150, count), feature="mass", bin=label)
    scraped.expect("model:feature_psi:1h", 0, feature="mass")
    scraped.expect("model:feature_bin:ratio1h", 900 / 1400, feature="mass", bin="missing")
    scraped.expect_nothing("model:feature_bin:ratio1h", feature="mass", bin="b0")
    assert scraped.failures(tmp_path, "drift-hour") == ""


def test_each_version_is_compared_with_its_own_training(project, tmp_path):
    scraped = Scraped(project, step=1, steps=150)
    for version, reference in {"7": [0.2, 0.8], "8": [0.7, 0.3]}.items():
        for label, share in zip(("yes", "no"), reference, strict=True):
            at = {"bin": label, "model_version": version}
            scraped.gauge("model_prediction_reference_ratio", share, **at)
            scraped.counter("model_prediction_bin_total", np.full(150, 100 * share), **at)
        scraped.expect("model:prediction_psi:1h", 0, model_version=version)
    assert scraped.failures(tmp_path, "drift-hour") == ""


def test_without_traffic_nothing_drifts_and_no_share_is_made_up(either, tmp_path):
    scraped = Scraped(either, step=1, steps=150)
    drifting_rows(scraped, lambda _, p: np.zeros((150, len(p))))
    nothing = np.zeros(150)
    scraped.counter("model_requests_total", nothing, code="200")
    scraped.counter("model_requests_total", nothing, code="500")
    scraped.counter("model_request_duration_seconds_bucket", nothing, le="0.25")
    scraped.counter("model_request_duration_seconds_count", nothing)
    for name in ("rows", "outlier_rows", "expected_correct", "feedback", "feedback_reward"):
        scraped.counter(f"model_{name}_total", nothing)
    scraped.counter("model_feedback_absolute_error_total", nothing)
    scraped.gauge("model_outlier_reference_ratio", 0.01)
    for name in FEATURES:
        scraped.expect("model:feature_psi:1h", 0, feature=name)
        scraped.expect_nothing("model:feature_bin:ratio1h", feature=name)
    scraped.expect("model:prediction_psi:1h", 0)
    for window in ("5m", "30m", "1h", "2h", "6h", "1d", "3d", "30d"):
        scraped.expect_nothing(f"model:request_errors:ratio_rate{window}", model_version="")
        scraped.expect_nothing(f"model:request_slow:ratio_rate{window}", model_version="")
    scraped.expect_nothing("model:outlier_rows:ratio1h")
    scraped.expect_nothing("model:outlier_rows:zscore1h")
    scraped.expect_nothing("model:expected_accuracy:ratio1h")
    scraped.expect_nothing("model:accuracy:mean1d")
    scraped.expect_nothing("model:absolute_error:mean1d")
    scraped.expect_nothing("model:accuracy:zscore1d")
    scraped.expect_nothing("model:absolute_error:zscore1d")
    assert scraped.failures(tmp_path, "requests", "budget", "drift-hour", "quality") == ""


@pytest.mark.parametrize(
    ("group", "step", "windows"),
    [
        ("requests", 1, {"5m": 5, "30m": 30, "1h": 60, "2h": 120, "6h": 360}),
        ("budget", 60, {"1d": 1440, "3d": 3 * 1440, "30d": 30 * 1440}),
    ],
)
def test_shares_of_errors_and_of_slow_answers(project, tmp_path, group, step, windows):
    steps = 800
    scraped = Scraped(project, step, steps)
    total, errors, answers, slow = (np.zeros(steps) for _ in range(4))
    # More and more errors, so that every window has another share.
    worse = np.linspace(0, 0.8, steps)
    for version, replica, rows in (("7", "a", 12), ("7", "b", 2), ("8", "c", 5)):
        at = {"model_version": version, "instance": replica}
        for code, share in (("200", 1), ("422", 0.5), ("500", worse), ("408", 0.1)):
            increments = scraped.counter(
                "model_requests_total", RANDOM.poisson(rows * share, steps), code=code, **at
            )
            total += increments
            if code == "500":
                errors += increments
            if code == "200":
                fast = RANDOM.binomial(increments.astype(int), 1 - worse)
                duration = "model_request_duration_seconds"
                scraped.counter(f"{duration}_bucket", fast, le="0.25", **at)
                scraped.counter(f"{duration}_bucket", increments, le="+Inf", **at)
                scraped.counter(f"{duration}_count", increments, **at)
                answers += increments
                slow += increments - fast
    for window, minutes in windows.items():
        seen = slice(1 - minutes // step, None)
        of_errors = errors[seen].sum() / total[seen].sum()
        of_slow = slow[seen].sum() / answers[seen].sum()
        scraped.expect(f"model:request_errors:ratio_rate{window}", of_errors, model_version="")
        scraped.expect(f"model:request_slow:ratio_rate{window}", of_slow, model_version="")
        if window in ("6h", "3d"):
            number = scraped.increase(errors, minutes)
            scraped.expect(f"model:request_errors:increase{window}", number, model_version="")
            number = scraped.increase(slow, minutes)
            scraped.expect(f"model:request_slow:increase{window}", number, model_version="")
    assert scraped.failures(tmp_path, group) == ""


def test_requests_per_second_and_latencies(project, tmp_path):
    scraped = Scraped(project, step=1, steps=30)
    edges = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5]
    times = np.zeros((30, len(edges)))
    requests = np.zeros(30)
    for replica, rows in REPLICAS.items():
        increments = RANDOM.poisson(rows, 30)
        requests += scraped.counter(
            "model_requests_total", increments, code="200", instance=replica
        )
        falls = np.array([RANDOM.multinomial(n, shares(edges)) for n in increments])
        upto = falls.cumsum(axis=1)
        times += upto
        for edge, counts in zip([*map(str, edges), "+Inf"], [*upto.T, increments], strict=True):
            scraped.counter(
                "model_request_duration_seconds_bucket", counts, le=edge, instance=replica
            )
    scraped.expect("model:requests:rate5m", scraped.increase(requests, 5) / 300, code="200")
    upto = times[-4:].sum(axis=0)
    for quantile in (0.50, 0.95, 0.99):
        seconds = np.interp(quantile * upto[-1], [0, *upto], [0, *edges])
        scraped.expect(f"model:request_latency_seconds:p{quantile * 100:.0f}_5m", seconds)
    assert scraped.failures(tmp_path, "requests") == ""


@pytest.mark.parametrize(("trained", "usual"), [(0.01, 0.01), (0.0, 0.001)])
def test_outliers_and_how_unlikely_they_are(project, tmp_path, trained, usual):
    scraped = Scraped(project, step=1, steps=150)
    rows, outliers = np.zeros(150), np.zeros(150)
    for replica, per_minute in REPLICAS.items():
        at = {"instance": replica}
        scraped.gauge("model_outlier_reference_ratio", trained, **at)
        rows += scraped.counter("model_rows_total", RANDOM.poisson(per_minute, 150), **at)
        outliers += scraped.counter("model_outlier_rows_total", RANDOM.poisson(3, 150), **at)
    number = scraped.increase(rows, 60)
    ratio = scraped.increase(outliers, 60) / number
    scraped.expect("model:rows:increase1h", number)
    scraped.expect("model:outlier_rows:ratio1h", ratio)
    scraped.expect("model:outlier_reference:ratio", usual)
    z = (ratio - usual) / np.sqrt(usual * (1 - usual) / number)
    scraped.expect("model:outlier_rows:zscore1h", z)
    assert scraped.failures(tmp_path, "drift-hour") == ""


def test_accuracy_is_the_mean_reward_of_the_last_day_beside_that_of_the_test_rows(
    project, tmp_path
):
    scraped = Scraped(project, step=5, steps=360)
    labels, right = np.zeros(360), np.zeros(360)
    for replica, per_step in REPLICAS.items():
        at = {"instance": replica}
        came = scraped.counter("model_feedback_total", RANDOM.poisson(per_step, 360), **at)
        labels += came
        right += scraped.counter("model_feedback_reward_total", came * RANDOM.random(360), **at)
        scraped.gauge("model_accuracy_reference_ratio", 0.9, **at)
    scraped.expect("model:feedback:increase1d", scraped.increase(labels, 1440))
    scraped.expect("model:accuracy:mean1d", right[-287:].sum() / labels[-287:].sum())
    scraped.expect("model:accuracy_reference:ratio", 0.9)
    number, accuracy = scraped.increase(labels, 1440), right[-287:].sum() / labels[-287:].sum()
    z = (accuracy - 0.9) / np.sqrt(0.9 * 0.1 / number)
    scraped.expect("model:accuracy:zscore1d", z)
    assert scraped.failures(tmp_path, "quality") == ""


def test_expected_accuracy_is_the_mean_of_the_largest_probabilities(project, tmp_path):
    scraped = Scraped(project, step=1, steps=150)
    rows, sure = np.zeros(150), np.zeros(150)
    for replica, per_minute in REPLICAS.items():
        at = {"instance": replica}
        came = scraped.counter("model_rows_total", RANDOM.poisson(per_minute, 150), **at)
        rows += came
        sure += scraped.counter("model_expected_correct_total", came * RANDOM.random(150), **at)
    scraped.expect("model:expected_accuracy:ratio1h", sure[-59:].sum() / rows[-59:].sum())
    assert scraped.failures(tmp_path, "drift-hour") == ""


def test_the_error_is_the_mean_of_the_last_day_beside_that_of_the_test_rows(regression, tmp_path):
    scraped = Scraped(regression, step=5, steps=360)
    labels, errors, squares = np.zeros(360), np.zeros(360), np.zeros(360)
    for replica, per_step in REPLICAS.items():
        at = {"instance": replica}
        came = scraped.counter("model_feedback_total", RANDOM.poisson(per_step, 360), **at)
        labels += came
        off = came * RANDOM.random(360)
        errors += scraped.counter("model_feedback_absolute_error_total", off, **at)
        squares += scraped.counter("model_feedback_squared_error_total", 2 * off, **at)
        scraped.gauge("model_absolute_error_reference", 4.2, **at)
    scraped.expect("model:feedback:increase1d", scraped.increase(labels, 1440))
    scraped.expect("model:absolute_error:mean1d", errors[-287:].sum() / labels[-287:].sum())
    scraped.expect("model:absolute_error_reference:value", 4.2)
    number, day = scraped.increase(labels, 1440), slice(-287, None)
    mean, mean_square = (of[day].sum() / labels[day].sum() for of in (errors, squares))
    z = (mean - 4.2) / np.sqrt((mean_square - mean**2) / number)
    scraped.expect("model:absolute_error:zscore1d", z)
    assert scraped.failures(tmp_path, "quality") == ""


def test_the_problem_type_decides_what_is_recorded_of_quality_and_nothing_else(project, regression):
    first, second = recorded(project), recorded(regression)

    differ = {name for name in first.keys() | second if first.get(name) != second.get(name)}

    assert differ == {
        "model:expected_accuracy:ratio1h",
        *(f"model:accuracy{what}" for what in (":mean1d", ":zscore1d", "_reference:ratio")),
        *(f"model:absolute_error{what}" for what in (":mean1d", ":zscore1d", "_reference:value")),
    }


def test_a_difference_of_a_hundred_thousandth_is_found(project, tmp_path):
    scraped = Scraped(project, step=1, steps=150)
    scraped.gauge("model_outlier_reference_ratio", 0.01)
    scraped.expect("model:outlier_reference:ratio", 0.01001)
    assert "FAILED" in scraped.failures(tmp_path, "drift-hour")


def recorded(project: Project) -> dict[str, tuple[str, str]]:
    """The expression and the group of each recorded series, as those of any model."""
    return {
        rule["record"]: tuple(
            text.replace(project.slug, "this-model") for text in (rule["expr"], group["name"])
        )
        for group in rules.groups(project, rules.RECORDING)
        for rule in group["rules"]
    }
