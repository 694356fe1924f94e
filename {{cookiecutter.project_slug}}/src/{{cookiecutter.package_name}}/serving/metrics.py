"""What seldon-core asks of its metrics object: nothing is recorded, no process started for it.

seldon-core's own SeldonMetrics keeps a process of its own and exchanges six messages with it for
each request, even when there is nothing to record: more than the rest of the request takes.
"""

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest


class Metrics:
    """Stands in for seldon_core.metrics.SeldonMetrics."""

    def __init__(self) -> None:
        """Start empty."""
        self._registry = CollectorRegistry()

    def update(self, custom_metrics: list[dict[str, object]], method: str) -> None:
        """Take the metrics of one request; requests carry none."""

    def update_reward(self, reward: float) -> None:
        """Take the reward of one feedback; the model logs it instead."""

    def generate_metrics(self) -> tuple[str, str]:
        """The page that Prometheus reads, and its content type."""
        return generate_latest(self._registry).decode(), CONTENT_TYPE_LATEST
