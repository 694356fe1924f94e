"""Metric families over the counters that the workers share: declared once, shown to Prometheus."""

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from modelloop.serving.counters import SharedCounters

LabelValues = tuple[str, ...]
UNLABELLED: list[LabelValues] = [()]  # one series


class Families(Collector):
    """Families that share some labels. `open` ends their declaration and reserves the memory.

    Attributes:
        counters: the numbers of all counters and histograms, once they are all declared.
    """

    counters: SharedCounters

    def __init__(self, common: Mapping[str, str]) -> None:
        """Give every series these labels."""
        self._names, self._values = list(common), list(common.values())
        self._make: list[Callable[[np.ndarray], Metric]] = []
        self._width = 0

    def open(self) -> None:
        """Reserve the memory of the counters, all 0; before the workers are forked."""
        self.counters = SharedCounters(self._width)

    def counter(
        self,
        name: str,
        text: str,
        series: Sequence[LabelValues] = UNLABELLED,
        names: LabelValues = (),
    ) -> int:
        """Declare a counter with one number for each label set of `series`.

        Returns:
            The index of the first one in `counters`; the others follow it.
        """
        first = self._reserve(len(series))

        def make(totals: np.ndarray) -> Metric:
            family = CounterMetricFamily(name, text, labels=[*self._names, *names])
            for values, total in zip(series, totals[first:].tolist(), strict=False):
                family.add_metric([*self._values, *values], total)
            return family

        self._make.append(make)
        return first

    def constant(
        self, name: str, text: str, values: Mapping[LabelValues, float], names: LabelValues = ()
    ) -> None:
        """Declare a gauge that does not change, by label set."""
        family = GaugeMetricFamily(name, text, labels=[*self._names, *names])
        for labels, value in values.items():
            family.add_metric([*self._values, *labels], value)
        self._make.append(lambda _: family)

    def computed(
        self,
        kind: type[CounterMetricFamily] | type[GaugeMetricFamily],
        name: str,
        text: str,
        read: Callable[[], float | None],
    ) -> None:
        """Declare a metric that is read when it is shown; where that gives None, there is none."""

        def make(_: np.ndarray) -> Metric:
            family = kind(name, text, labels=self._names)
            value = read()
            if value is not None:
                family.add_metric(self._values, value)
            return family

        self._make.append(make)

    def histogram(self, name: str, text: str, bounds: Sequence[float]) -> "Histogram":
        """Declare a histogram with these upper bounds."""
        size = len(bounds) + 1
        first = self._reserve(size + 1)
        edges = [*map(floatToGoString, bounds), "+Inf"]

        def make(totals: np.ndarray) -> Metric:
            family = HistogramMetricFamily(name, text, labels=self._names)
            up_to = np.cumsum(totals[first : first + size]).tolist()
            family.add_metric(
                self._values, list(zip(edges, up_to, strict=True)), float(totals[first + size])
            )
            return family

        self._make.append(make)
        return Histogram(self, first, bounds)

    def collect(self) -> Iterator[Metric]:
        """Called by prometheus_client."""
        totals = self.counters.totals()
        return (make(totals) for make in self._make)

    def _reserve(self, count: int) -> int:
        first = self._width
        self._width += count
        return first


class Histogram:
    """A declared histogram."""

    def __init__(self, families: Families, first: int, bounds: Sequence[float]) -> None:
        """`first` is the index of the lowest bucket; the sum is behind the highest one."""
        self._families, self._first, self._bounds = families, first, bounds

    def observe(self, value: float) -> None:
        """Count a value."""
        own = self._families.counters.own
        own[self._first + bisect_left(self._bounds, value)] += 1
        own[self._first + len(self._bounds) + 1] += value
