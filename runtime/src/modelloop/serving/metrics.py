"""The metrics of the server, as Prometheus reads them; the page on monitoring explains their use.

Each metric is declared once, in the modules that this one puts together. Live traffic is counted in
the bins that training chose, and the share of the training rows in each bin is a constant beside
the counter: sums over workers, replicas and restarts are exact, and Prometheus computes drift.

seldon-core's SeldonMetrics is not used: it exchanges six messages with a process of its own for
each request, which takes longer than the rest of the request. Nor are prometheus_client's counters,
one for each feature: `make bench` of the template measures these against them.
"""

import logging
import os
import threading
from collections.abc import Callable
from datetime import datetime

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily

from modelloop.contract.contract import Contract
from modelloop.serving import usage
from modelloop.serving.families import Families
from modelloop.serving.inputs import Inputs
from modelloop.serving.outcomes import Labels, Predictions
from modelloop.serving.payload import Feedback
from modelloop.serving.predictor import Prediction, Refusal

logger = logging.getLogger(__name__)

# Every status of a prediction request; over gRPC, the status that HTTP has for the same refusal.
CODES = (200, 400, 408, 413, 415, 422, 500)
# Upper bounds in seconds; the latency objective is one of them, 0.25.
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 2.5)

Observe = Callable[[Prediction], None]


class Metrics:
    """The metrics of one model. All workers show the same page."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, contract: Contract, workers: int = 1) -> None:
        """Declare everything, at 0; before the workers are forked."""
        families = Families({"model_name": contract.name, "model_version": contract.version})
        families.constant("model_info", "The model that is served; always 1.", {(): 1})
        trained = datetime.fromisoformat(contract.provenance.trained_at).timestamp()
        families.constant("model_trained_timestamp_seconds", "When it was trained.", {(): trained})
        self._codes = families.counter(
            "model_requests",
            "Prediction requests by HTTP status.",
            [(str(code),) for code in CODES],
            ("code",),
        )
        self._latency = families.histogram(
            "model_request_duration_seconds",
            "Time from a whole request to its answer, of those answered with 200.",
            LATENCIES,
        )
        self._rows = families.counter("model_rows", "Rows scored.")
        self._inputs = Inputs(contract, families)
        self._predictions = Predictions(contract, families)
        self._labels = Labels(contract, families)
        self._failures = families.counter(
            "model_custom_metrics_failures", "Answers on which observe of metrics.py failed."
        )
        self._declare_usage(families, workers)
        families.open()
        self._families = families
        self._registry = CollectorRegistry()
        self._registry.register(families)
        self._lock = threading.Lock()
        self._observe: Observe | None = None
        self._custom: CollectorRegistry | None = None

    def _declare_usage(self, families: Families, workers: int) -> None:
        master = os.getpid()

        def workers_found() -> list[int]:
            return [pid for pid in families.counters.pids if pid != master]

        families.computed(
            CounterMetricFamily,
            "process_cpu_seconds",
            "CPU time of all processes of the server.",
            lambda: usage.cpu_seconds(master, workers_found()),
        )
        families.computed(
            GaugeMetricFamily,
            "process_resident_memory_bytes",
            "Memory of all processes of the server; what they share counts once.",
            lambda: usage.resident_bytes([master, *workers_found()]),
        )
        families.constant(
            "model_cpu_limit_cores",
            "Cores that the server can use.",
            {(): usage.cpu_limit(workers)},
        )
        families.constant(
            "model_memory_limit_bytes",
            "Memory that the server may use.",
            {(): usage.memory_limit()},
        )

    def enter(self, row: int) -> None:
        """Begin to count in a new worker, in a row of the counters that no other process has."""
        self._families.counters.take(row)

    def add_custom(self, observe: Observe, registry: CollectorRegistry) -> None:
        """Call `observe` after each answer, and show the metrics of its registry, too."""
        self._observe, self._custom = observe, registry

    def count_answer(self, seconds: float) -> None:
        """Count a prediction request that was answered, and the seconds that took."""
        with self._lock:
            self._families.counters.own[self._codes] += 1
            self._latency.observe(seconds)

    def count_refusal(self, code: int) -> None:
        """Count a prediction request that was refused, or failed."""
        with self._lock:
            self._families.counters.own[self._codes + CODES.index(code)] += 1

    def count_rows(self, prediction: Prediction) -> None:
        """Count rows that were scored, and their answers."""
        rows = len(prediction.outputs)
        with self._lock:
            self._families.counters.own[self._rows] += rows
            self._inputs.count(prediction.inputs, rows)
            self._predictions.count(prediction)
        if self._observe:
            self._count_custom(self._observe, prediction)

    def count_refused_value(self, refusal: Refusal) -> None:
        """Count the value for which a request was refused, where it was one."""
        with self._lock:
            self._inputs.count_refused(refusal)

    def count_feedback(self, feedback: Feedback) -> str:
        """Count feedback; returns "counted", or the reason why it is not."""
        with self._lock:
            return self._labels.count(feedback)

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        custom = generate_latest(self._custom) if self._custom else b""
        return generate_latest(self._registry) + custom

    def _count_custom(self, observe: Observe, prediction: Prediction) -> None:
        """A mistake in a team's metric costs no answer: it is counted, and the first is logged."""
        try:
            observe(prediction)
        except Exception:
            own = self._families.counters.own
            with self._lock:
                own[self._failures] += 1
            if own[self._failures] == 1:
                logger.exception("observe of metrics.py failed; from now on this is only counted")
