"""What Prometheus reads of the server.

Not through seldon-core's SeldonMetrics: that keeps a process of its own and exchanges six messages
with it for each request, which takes longer than the rest of the request.
"""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from ..contract import Contract


class Metrics:
    """The metrics of one model. All workers show the same page."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, contract: Contract) -> None:
        """Describe this model."""
        self._registry = CollectorRegistry()
        info = Gauge(
            "model_info",
            "The model that is served; always 1.",
            ["model_name", "model_version"],
            registry=self._registry,
        )
        info.labels(contract.name, contract.version).set(1)

    def page(self) -> bytes:
        """Everything, in Prometheus' text format."""
        return generate_latest(self._registry)
