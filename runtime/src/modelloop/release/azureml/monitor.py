"""Requests, errors and latency of a version, from Azure Monitor."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

from azure.ai.ml.entities import OnlineEndpoint
from azure.core.credentials import TokenCredential
from azure.monitor.querymetrics import MetricsClient, MetricsQueryResult, TimeSeriesElement

from modelloop.release.watch import Measured

NAMESPACE = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"
REQUESTS, LATENCY = "RequestsPerMinute", "RequestLatency_P95"
STATUS = "statusCodeClass"
GRAIN = timedelta(minutes=1)  # Azure has no finer one


def measure(
    credential: TokenCredential, endpoint: OnlineEndpoint, deployment: str, seconds: float
) -> Measured:
    """Requests, errors and latency of a deployment in the last `seconds`, up to whole minutes.

    Azure Monitor's numbers are some minutes late.

    Raises:
        AzureError: Azure Monitor does not respond.
    """
    region = str(endpoint.location).replace(" ", "").lower()
    with MetricsClient(f"https://{region}.metrics.monitor.azure.com", credential) as client:
        now = datetime.now(UTC)
        requests, latency = (
            client.query_resources(**query(metric, str(endpoint.id), deployment, seconds, now))
            for metric in (REQUESTS, LATENCY)
        )
    return read(requests, latency)


def query(
    metric: str, resource: str, deployment: str, seconds: float, now: datetime
) -> dict[str, Any]:
    """The arguments of one query, for as many whole minutes as cover the last `seconds`."""
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
    """Add up requests and those with a status of 5xx; the latency is the mean of the minutes.

    Percentiles of minutes cannot be combined exactly. Azure Monitor does not measure drift.
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


def _series(results: list[MetricsQueryResult]) -> list[TimeSeriesElement]:
    return [s for result in results for metric in result.metrics for s in metric.timeseries]


def _points(series: TimeSeriesElement) -> list[float]:
    return [point.average for point in series.data if point.average is not None]
