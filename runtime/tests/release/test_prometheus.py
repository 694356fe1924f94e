"""What Prometheus answers to the queries about a canary."""

import pytest

from modelloop import Project
from modelloop.release.seldon import prometheus
from modelloop.testing import promtool

pytestmark = pytest.mark.usefixtures("programs")

VERSION = 'model_name="penguins", model_version="2"'


def series(name: str, per_minute: float, **labels: str) -> dict[str, str]:
    """A counter of one replica over ten minutes, a scrape a minute."""
    common = {"model_name": "penguins", "model_version": "2", "instance": "a"}
    return {
        "series": promtool.selector(name, **(common | labels)),
        "values": f"0+{per_minute}x10",
    }


REQUESTS = "model_requests_total"
BUCKET = "model_request_duration_seconds_bucket"
SERIES = [
    series(REQUESTS, 6, code="200"),
    series(REQUESTS, 6, code="200", instance="b"),
    series(REQUESTS, 1, code="422"),
    series(REQUESTS, 2, code="500"),
    series(REQUESTS, 1, code="503", instance="b"),
    series(REQUESTS, 1000, code="500", model_version="1"),
    series(BUCKET, 80, le="0.01"),
    series(BUCKET, 100, le="0.02"),
    series(BUCKET, 100, le="+Inf"),
    series(BUCKET, 100, le="+Inf", model_version="1"),
    series("model_prediction_bin_total", 3, bin="b0"),
    series("model_prediction_bin_total", 4, bin="b0", instance="b"),
]


@pytest.mark.parametrize(
    ("query", "labels", "expected"),
    [
        (prometheus.REQUESTS, "{}", 80),  # 16 a minute, of two replicas
        (prometheus.ERRORS, "{}", 15),  # 3 a minute
        (prometheus.LATENCY, "{}", 0.0175),  # the 95th of 100 between 80 at 10 and 100 at 20 ms
        (prometheus.BINS, '{bin="b0"}', 35),
    ],
)
def test_a_version_is_asked_for_alone_over_all_its_replicas(
    project: Project, tmp_path, query: str, labels: str, expected: float
):
    asked = query.format(version=VERSION, window=300)
    test = {
        "interval": "1m",
        "input_series": SERIES,
        "promql_expr_test": [
            {
                "expr": f"abs({asked} - {expected}) < bool 1e-6",
                "eval_time": "10m30s",
                "exp_samples": [{"labels": labels, "value": 1}],
            }
        ],
    }
    assert promtool.failures(project, tmp_path, [], [test], "1m") == ""
