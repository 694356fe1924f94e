"""The inputs as metrics: rows by the bins that training chose, and rows unlike any it saw."""

from bisect import bisect_right
from collections import Counter

import numpy as np

from ..contract import Contract, OutlierDetector
from ..served_model import MISSING, Table
from .families import Families
from .predictor import Refusal

# Up to so many rows, counting one by one is faster than numpy.
FEW_ROWS = 8


class Inputs:
    """Counts the inputs of a model."""

    def __init__(self, contract: Contract, families: Families) -> None:
        """Declare the metrics."""
        self._families = families
        self._numbers: list[tuple[str, list[float], int, int]] = []  # edges, first bin, `missing`
        self._categories: list[tuple[str, dict[str, int], int]] = []  # cell by value, `other`
        self._apart: dict[str, tuple[int, int]] = {}  # `other` and `missing`
        references = {column.name: column.reference for column in contract.features}
        series = [(name, b) for name, reference in references.items() for b in reference.bins]
        names = ("feature", "bin")
        cell = families.counter("model_feature_bin", "Rows by bin of a feature.", series, names)
        shares = [share for reference in references.values() for share in reference.shares]
        families.constant(
            "model_feature_reference_ratio",
            "Share of the training rows in a bin of a feature.",
            dict(zip(series, shares, strict=True)),
            names,
        )
        for name, reference in references.items():
            missing = cell + len(reference.bins) - 1
            self._apart[name] = missing - 1, missing
            if reference.edges is not None:
                self._numbers.append((name, reference.edges, cell, missing))
            else:
                cells = {value: cell + i for i, value in enumerate(reference.categories)}
                self._categories.append((name, cells | {MISSING: missing}, missing - 1))
            cell = missing + 1
        self._outliers = Outliers(contract.outliers, families) if contract.outliers else None
        if self._outliers:  # one array of numbers serves both
            order = contract.outliers.features
            self._numbers.sort(key=lambda number: order.index(number[0]))

    def count(self, inputs: Table, rows: int) -> None:
        """Count rows that were scored."""
        own = self._families.cells.own
        for name, cells, other in self._categories:
            for value, count in Counter(inputs[name]).items():
                own[cells.get(value, other)] += count
        if not self._numbers:
            return
        numbers = np.concatenate([inputs[number[0]] for number in self._numbers])
        numbers = numbers.reshape(len(self._numbers), rows)
        if rows <= FEW_ROWS:
            for (_, edges, first, missing), values in zip(
                self._numbers, numbers.tolist(), strict=True
            ):
                for value in values:
                    own[first + bisect_right(edges, value) if value == value else missing] += 1
        else:
            array = self._families.cells.own_array
            for (_, edges, first, missing), values in zip(self._numbers, numbers, strict=True):
                known = values[~np.isnan(values)].astype(np.float64)
                counts = np.bincount(np.searchsorted(edges, known, side="right"))
                array[first : first + len(counts)] += counts
                own[missing] += rows - len(known)
        if self._outliers:
            self._outliers.count(numbers)

    def count_refused(self, refusal: Refusal) -> None:
        """Count a value for which a request was refused: as missing, else as one of no bin."""
        if refusal.feature in self._apart and refusal.row is not None:
            cell = self._apart[refusal.feature][refusal.reason == "MISSING_VALUE"]
            self._families.cells.own[cell] += 1


class Outliers:
    """Counts rows that are far from the training rows (Mahalanobis distance)."""

    def __init__(self, detector: OutlierDetector, families: Families) -> None:
        """Declare the metrics."""
        self._families = families
        self._cell = families.counter(
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
        self._mean = np.array(detector.mean)[:, None]
        self._centre = self._whiten @ self._mean
        self._threshold = detector.threshold

    def count(self, numbers: np.ndarray) -> None:
        """Count the outliers of a (features, rows) table; NaN is missing."""
        deviations = self._whiten @ numbers - self._centre
        distances = np.einsum("ij,ij->j", deviations, deviations)
        if np.isnan(distances).any():
            self.count(np.where(np.isnan(numbers), self._mean, numbers))
        else:
            found = np.count_nonzero(distances > self._threshold)
            self._families.cells.own[self._cell] += found
