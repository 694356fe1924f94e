"""Drift of a file's rows from the training rows, measured as Prometheus measures that of traffic.

Rows are counted in the server's own bins; the drift is their population stability index (PSI).
"""

import re

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from modelloop.batch.scoring import Scored
from modelloop.contract.contract import MISSING, OTHER, Contract, Reference
from modelloop.serving.families import Families
from modelloop.serving.inputs import Inputs
from modelloop.serving.outcomes import Predictions
from modelloop.serving.predictor import Prediction
from modelloop.table import bins

PREDICTION = "prediction"  # the predictions, among the features
ALARM = 0.2  # of a feature, as in monitoring/alerts.rules.yaml
MOST_BARS = 40  # of the plot
ROWS = 1000  # of a regression, counted at once: the server makes small lists of each row


class Drift:
    """Counts of scored rows, and their drift."""

    def __init__(self, contract: Contract) -> None:
        """Count in this contract's bins, all 0 at first."""
        self._contract = contract
        self._families = Families({})
        self._inputs = Inputs(contract, self._families)
        self._predictions = Predictions(contract, self._families)
        self._families.open()
        self._by_class = [self._counts_of_class(i) for i in range(len(contract.classes))]

    @property
    def counts(self) -> list[float]:
        """All counts so far, for `restore`."""
        return self._families.counters.totals().tolist()

    def restore(self, counts: list[float]) -> None:
        """Continue with the counts of another one of the same contract."""
        self._families.counters.own_array[:] = counts

    def count(self, scored: Scored) -> None:
        """Add the answered rows."""
        outputs = scored.outputs[scored.answered]
        if len(outputs):
            self._inputs.count(scored.inputs, len(outputs))
        if self._by_class:
            # The server counts row by row; one row of each class has shown which cell is its.
            rows = np.bincount(outputs.argmax(axis=1), minlength=len(self._by_class))
            self._families.counters.own_array += rows @ np.array(self._by_class)
            return
        for start in range(0, len(outputs), ROWS):
            self._predictions.count(Prediction(outputs[start : start + ROWS], None, {}))

    def bins(self) -> pd.DataFrame:
        """A row for each bin of each feature and of the predictions.

        Returns:
            The columns feature, bin, training (share of the training rows), file (share of the
            rows that were counted) and rows (how many those are).
        """
        counts = {
            (sample.labels.get("feature", PREDICTION), sample.labels["bin"]): sample.value
            for family in self._families.collect()
            if family.name in ("model_feature_bin", "model_prediction_bin")
            for sample in family.samples
        }
        rows = []
        for name, reference in self._references().items():
            total = sum(counts[name, label] for label in reference.bins)
            for label, share in zip(reference.bins, reference.shares, strict=True):
                count = counts[name, label]
                rows.append((name, label, share, count / total if total else 0.0, int(count)))
        return pd.DataFrame(rows, columns=["feature", "bin", "training", "file", "rows"])

    def psi(self) -> dict[str, float]:
        """The PSI of each feature, and of the predictions; 0 is no drift."""
        return {name: _psi(rows) for name, rows in self.bins().groupby("feature", sort=False)}

    def _counts_of_class(self, place: int) -> np.ndarray:
        """The counts of a single row that is predicted to be of the class at this place."""
        counters = self._families.counters.own_array
        chances = np.zeros((1, len(self._contract.classes)))
        chances[0, place] = 1
        self._predictions.count(Prediction(chances, None, {}))
        added = counters.copy()
        counters[:] = 0
        return added

    def _references(self) -> dict[str, Reference]:
        features = {column.name: column.reference for column in self._contract.features}
        return features | {PREDICTION: self._contract.predictions}


def metric(name: str) -> str:
    """The name of a feature's PSI in MLflow, which allows few characters."""
    return "psi_" + re.sub(r"[^\w.\-/ ]", "_", name)


def plot(psi: dict[str, float]) -> Figure:
    """The largest PSIs as bars, the largest on top."""
    names = sorted(psi, key=lambda name: psi[name])[-MOST_BARS:]
    figure = Figure(figsize=(7, 1 + 0.3 * len(names)), layout="constrained")
    axes = figure.subplots()
    colours = ["tab:red" if psi[name] > ALARM else "tab:blue" for name in names]
    axes.barh(names, [psi[name] for name in names], color=colours)
    axes.axvline(ALARM, color="grey", linestyle="--", label=f"alert above {ALARM}")
    axes.set_xlabel("population stability index against the training rows")
    axes.legend(loc="lower right")
    return figure


def _psi(rows: pd.DataFrame) -> float:
    if (rows["feature"] != PREDICTION).all():  # missing values are faults of the data, not drift
        rows = rows[~rows["bin"].isin([OTHER, MISSING])]
    return bins.psi(rows["rows"].to_numpy(), rows["training"].to_numpy())
