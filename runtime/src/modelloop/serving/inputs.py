"""The inputs as metrics: rows by the bins that training chose, and rows unlike any it saw."""

from bisect import bisect_right

import numpy as np

from modelloop.contract.contract import Contract, OutlierDetector
from modelloop.contract.served_model import MISSING, Table
from modelloop.serving.families import Families
from modelloop.serving.predictor import Refusal


class Inputs:
    """Counts the inputs of a model."""

    def __init__(self, contract: Contract, families: Families) -> None:
        """Declare the metrics."""
        self._families = families
        # By category, the index of its counter; of any other category, that of `other`.
        self._categories: list[tuple[str, dict[str, int], int]] = []
        self._invalid: dict[str, tuple[int, int]] = {}  # `other` and `missing`, by feature
        references = {column.name: column.reference for column in contract.features}
        series = [(name, b) for name, reference in references.items() for b in reference.bins]
        names = ("feature", "bin")
        first = families.counter("model_feature_bin", "Rows by bin of a feature.", series, names)
        shares = [share for reference in references.values() for share in reference.shares]
        families.constant(
            "model_feature_reference_ratio",
            "Share of the training rows in a bin of a feature.",
            dict(zip(series, shares, strict=True)),
            names,
        )
        numbers: dict[str, tuple[list[float], int, int]] = {}  # edges, first bin, `missing`
        for name, reference in references.items():
            missing = first + len(reference.bins) - 1
            self._invalid[name] = missing - 1, missing
            if reference.edges is not None:
                numbers[name] = reference.edges, first, missing
            else:
                known = {c: first + i for i, c in enumerate(reference.categories or [])}
                self._categories.append((name, known | {MISSING: missing}, missing - 1))
            first = missing + 1
        self._outliers = Outliers(contract.outliers, families) if contract.outliers else None
        # The detector's are first and in its order, so that one array serves both.
        watched = contract.outliers.features if contract.outliers else []
        self._names = [*watched, *(name for name in numbers if name not in watched)]
        self._bins = [numbers[name] for name in self._names]

    def count(self, inputs: Table, rows: int) -> None:
        """Count rows that were scored."""
        own = self._families.counters.own
        for name, known, other in self._categories:
            for value in inputs[name].tolist():
                own[known.get(value, other)] += 1
        if not self._names:
            return
        if rows == 1:
            self._count_one([inputs[name].item() for name in self._names])
        else:
            self._count_many(np.array([inputs[name] for name in self._names]))

    def _count_one(self, values: list[float]) -> None:
        """Count the numbers of one row, as most requests have: a third of the time."""
        own = self._families.counters.own
        for (edges, first, missing), value in zip(self._bins, values, strict=True):
            own[first + bisect_right(edges, value) if value == value else missing] += 1
        if self._outliers:
            self._outliers.count_one(np.array(values[: self._outliers.width]))

    def _count_many(self, numbers: np.ndarray) -> None:
        """Count a (features, rows) table."""
        counters = self._families.counters
        for (edges, first, missing), values in zip(self._bins, numbers, strict=True):
            known = values[~np.isnan(values)].astype(np.float64)
            counts = np.bincount(np.searchsorted(edges, known, side="right"))
            counters.own_array[first : first + len(counts)] += counts
            counters.own[missing] += len(values) - len(known)
        if self._outliers:
            self._outliers.count_many(numbers[: self._outliers.width])

    def count_refused(self, refusal: Refusal) -> None:
        """Count a value for which a request was refused: in the bin `missing`, else in `other`."""
        if refusal.feature in self._invalid and refusal.row is not None:
            other, missing = self._invalid[refusal.feature]
            index = missing if refusal.reason == "MISSING_VALUE" else other
            self._families.counters.own[index] += 1


class Outliers:
    """Counts rows that are far from the training rows (Mahalanobis distance).

    Attributes:
        width: how many numbers of a row it reads.
    """

    def __init__(self, detector: OutlierDetector, families: Families) -> None:
        """Declare the metrics."""
        self._families = families
        self.width = len(detector.features)
        self._index = families.counter(
            "model_outlier_rows", "Rows further from the training rows than nearly all of them."
        )
        families.constant(
            "model_outlier_reference_ratio",
            "Share of the training rows that are that far.",
            {(): detector.share},
        )
        # precision = whiten' whiten: the distance is a sum of squares.
        values, vectors = np.linalg.eigh(np.array(detector.precision))
        self._whiten = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
        self._mean = np.array(detector.mean)
        self._centre = self._whiten @ self._mean
        self._threshold = detector.threshold

    def count_one(self, row: np.ndarray) -> None:
        """Count a row, of shape (features,), if it is an outlier; NaN is missing."""
        deviation = self._whiten.dot(row)
        deviation -= self._centre
        distance = deviation.dot(deviation)
        if distance != distance:
            self.count_one(np.where(np.isnan(row), self._mean, row))
        elif distance > self._threshold:
            self._families.counters.own[self._index] += 1

    def count_many(self, numbers: np.ndarray) -> None:
        """Count the outliers of a (features, rows) table."""
        mean = self._mean[:, None]
        deviations = self._whiten @ np.where(np.isnan(numbers), mean, numbers)
        deviations -= self._centre[:, None]
        distances = (deviations * deviations).sum(axis=0)
        found = np.count_nonzero(distances > self._threshold)
        self._families.counters.own[self._index] += found
