"""How far the rows of a file are from those of training.

Counted in the server's own bins, and judged as the recording rules for Prometheus do: with the
population stability index over the bins of training, shrunk towards it by SHRINK rows.
"""

import math
import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ..contract import MISSING, OTHER, Contract, Reference
from ..scoring import Scored
from ..serving.families import Families
from ..serving.inputs import Inputs
from ..serving.outcomes import Predictions
from ..serving.predictor import Prediction

PREDICTION = "prediction"  # the predictions, among the features
SHRINK = 20  # as in monitoring/prometheus/recording.rules.yml
ALARM = 0.2  # of a feature, as in monitoring/prometheus/alerts.rules.yml
MOST_BARS = 40  # of the plot
ROWS = 1000  # counted at once: many small lists at a time would cost more than they hold


class Drift:
    """Counts what was scored."""

    def __init__(self, contract: Contract) -> None:
        """Count in this contract's bins."""
        self._contract = contract
        self._families = Families({})
        self._inputs = Inputs(contract, self._families)
        self._predictions = Predictions(contract, self._families)
        self._families.open()
        self._of_classes = [self._cells_of(i) for i in range(len(contract.classes))]

    @property
    def counts(self) -> list[float]:
        """Everything that was counted, for `restore`."""
        return self._families.cells.totals().tolist()

    def restore(self, counts: list[float]) -> None:
        """Go on from what another one has counted."""
        self._families.cells.own_array[:] = counts

    def count(self, scored: Scored) -> None:
        """Count the rows that were answered."""
        outputs = scored.outputs[scored.answered]
        if len(outputs):
            self._inputs.count(scored.inputs, len(outputs))
        if self._of_classes:
            # The server counts row by row; a row of each class has told which bin is its.
            found = np.bincount(outputs.argmax(axis=1), minlength=len(self._of_classes))
            self._families.cells.own_array += found @ self._of_classes
            return
        for start in range(0, len(outputs), ROWS):
            self._predictions.count(Prediction(outputs[start : start + ROWS], None, {}))

    def bins(self) -> pd.DataFrame:
        """A row for each bin of each feature and of the predictions: its shares and its rows."""
        found = {
            (sample.labels.get("feature", PREDICTION), sample.labels["bin"]): sample.value
            for family in self._families.collect()
            if family.name in ("model_feature_bin", "model_prediction_bin")
            for sample in family.samples
        }
        rows = []
        for name, reference in self._references().items():
            total = sum(found[name, b] for b in reference.bins)
            for label, share in zip(reference.bins, reference.shares, strict=True):
                count = found[name, label]
                rows.append((name, label, share, count / total if total else 0.0, int(count)))
        return pd.DataFrame(rows, columns=["feature", "bin", "training", "file", "rows"])

    def psi(self) -> dict[str, float]:
        """The index of each feature, and of the predictions; 0 is no drift."""
        return {name: _psi(bins) for name, bins in self.bins().groupby("feature", sort=False)}

    def _cells_of(self, place: int) -> np.ndarray:
        """What one row whose class is at this place adds to the cells."""
        cells = self._families.cells.own_array
        chances = np.zeros((1, len(self._contract.classes)))
        chances[0, place] = 1
        self._predictions.count(Prediction(chances, None, {}))
        added = cells.copy()
        cells[:] = 0
        return added

    def _references(self) -> dict[str, Reference]:
        features = {column.name: column.reference for column in self._contract.features}
        return features | {PREDICTION: self._contract.predictions}


def metric(name: str) -> str:
    """The name of a feature's index as a metric of MLflow, which takes few signs."""
    return "psi_" + re.sub(r"[^\w.\-/ ]", "_", name)


def plot(psi: dict[str, float]) -> Figure:
    """The largest indices as bars, the largest on top."""
    names = sorted(psi, key=psi.get)[-MOST_BARS:]
    figure = Figure(figsize=(7, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:red" if psi[name] > ALARM else "tab:blue" for name in names]
    axes.barh(names, [psi[name] for name in names], color=colours)
    axes.axvline(ALARM, color="grey", linestyle="--", label=f"alert above {ALARM}")
    axes.set_xlabel("population stability index against the training rows")
    axes.legend(loc="lower right")
    return figure


def _psi(bins: pd.DataFrame) -> float:
    if (bins["feature"] != PREDICTION).all():  # missing values are faults of the data, not drift
        bins = bins[~bins["bin"].isin([OTHER, MISSING])]
    expected = (bins["training"] / bins["training"].sum()).tolist()
    total = bins["rows"].sum() + SHRINK
    found = [
        (rows + SHRINK * q) / total for rows, q in zip(bins["rows"].tolist(), expected, strict=True)
    ]
    return sum((p - q) * math.log(p / q) for p, q in zip(found, expected, strict=True))
