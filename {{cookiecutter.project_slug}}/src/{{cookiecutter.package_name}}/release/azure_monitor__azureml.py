"""How a version does, asked of Azure Monitor."""

import math
from datetime import UTC, datetime, timedelta

from azure.ai.ml.entities import OnlineEndpoint
from azure.core.credentials import TokenCredential
from azure.monitor.querymetrics import MetricsClient, MetricsQueryResult

from .watch import Measured

NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
REQUESTS, LATENCY = "RequestsPerMinute", "RequestLatency_P95"
STATUS = "statusCodeClass"
GRAIN = timedelta(minutes=1)  # Azure knows no finer one


def measure(
    credential: TokenCredential, endpoint: OnlineEndpoint, deployment: str, seconds: float
) -> Measured:
    """How a deployment did in the last seconds, in whole minutes; Azure tells it minutes late.

    Raises:
        AzureError: Azure Monitor does not answer.
    """
    region = endpoint.location.replace(" ", "").lower()
    with MetricsClient(f"https://{region}.metrics.monitor.azure.com", credential) as client:
        now = datetime.now(UTC)
        requests, latency = (
            client.query_resources(**query(metric, endpoint.id, deployment, seconds, now))
            for metric in (REQUESTS, LATENCY)
        )
    return read(requests, latency)


def query(metric: str, resource: str, deployment: str, seconds: float, now: datetime) -> dict:
    """The arguments of one query, for the minutes that the last seconds touch."""
    minutes = timedelta(minutes=math.ceil(seconds / 60))
    only = f"deployment eq '{deployment}'"
    return {
        "resource_ids": [resource],
        "metric_namespace": NAMESPACE,
        "metric_names": [metric],
        "timespan": (now - minutes, now),
        "granularity": GRAIN,
        "aggregations": ["Average"],
        "filter": f"{only} and {STATUS} eq '*'" if metric == REQUESTS else only,
    }


def read(requests: list[MetricsQueryResult], latency: list[MetricsQueryResult]) -> Measured:
    """Add the minutes up: requests and those with a 5xx; of the latencies the mean.

    Percentiles of minutes have no exact sum; drift is not measured by Azure Monitor.
    """
    total = errors = 0.0
    for series in _series(requests):
        count = sum(_points(series))
        total += count
        classes = {key.lower(): value for key, value in series.metadata_values.items()}
        errors += count if classes.get(STATUS.lower(), "").startswith("5") else 0.0
    milliseconds = [value for series in _series(latency) for value in _points(series)]
    seconds = sum(milliseconds) / len(milliseconds) / 1000 if milliseconds else None
    return Measured(requests=total, errors=errors, latency=seconds, drift=None)


def _series(results: list[MetricsQueryResult]) -> list:
    return [s for result in results for metric in result.metrics for s in metric.timeseries]


def _points(series: object) -> list[float]:
    return [point.average for point in series.data if point.average is not None]
