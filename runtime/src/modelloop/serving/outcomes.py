"""The predictions as metrics, by bin, and the feedback on them: labels and rewards."""

import time
from bisect import bisect_right
from collections.abc import Iterable
from itertools import product

import numpy as np

from modelloop.contract.contract import Contract, Reference
from modelloop.serving.client import COUNTED
from modelloop.serving.families import Families
from modelloop.serving.payload import Feedback
from modelloop.serving.predictor import Prediction

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
DELAYS = (MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY, 30 * DAY, 90 * DAY)
# Why feedback is not counted: it is about another version; it has the truth without the prediction;
# it has a reward alone, from which no error follows.
OTHER_VERSION, NO_PREDICTION, NO_TRUTH = SKIPPED = ("other_version", "no_prediction", "no_truth")


class Predictions:
    """Counts what the model answers."""

    def __init__(self, contract: Contract, families: Families) -> None:
        """Declare the metrics."""
        self._families = families
        reference = contract.predictions
        series = [(name,) for name in reference.bins]
        first = families.counter("model_prediction_bin", "Predictions by bin.", series, ("bin",))
        families.constant(
            "model_prediction_reference_ratio",
            "Share of the predictions on the training rows in a bin.",
            dict(zip(series, reference.shares, strict=True)),
            ("bin",),
        )
        self._first, self._edges = first, reference.edges or []
        bins, other = _class_bins(reference)
        self._classes = [first + bins.get(name, other) for name in contract.classes]
        if contract.classes:
            self._expected = families.counter(
                "model_expected_correct",
                "Sum of the largest class probability of each row: as many should be right.",
            )

    def count(self, prediction: Prediction) -> None:
        """Count the answers for some rows."""
        own, outputs = self._families.counters.own, prediction.outputs
        if self._classes:
            # How NannyML estimates accuracy without labels (CBPE): it holds where the inputs drift,
            # and misses that their meaning has changed.
            for row in outputs.tolist():
                largest = max(row)
                own[self._expected] += largest
                own[self._classes[row.index(largest)]] += 1
        else:
            for value in outputs[:, 0].tolist():
                own[self._first + bisect_right(self._edges, value)] += 1


class Labels:
    """Counts feedback when it arrives; labels come late, and the histogram shows how late."""

    def __init__(self, contract: Contract, families: Families) -> None:
        """Declare the metrics."""
        self._families, self._contract = families, contract
        self._rows = families.counter("model_feedback", "Labelled rows that came back.")
        self._reward = families.counter(
            "model_feedback_reward", "Sum of their rewards; 1 for a right class, 0 for a wrong one."
        )
        skipped = families.counter(
            "model_feedback_skipped",
            "Labelled rows that were not counted.",
            [(reason,) for reason in SKIPPED],
            ("reason",),
        )
        self._skipped = {reason: skipped + i for i, reason in enumerate(SKIPPED)}
        self._delay = families.histogram(
            "model_feedback_delay_seconds", "From a prediction to its labels.", DELAYS
        )
        if contract.classes:
            self._bins, self._other = _class_bins(contract.predictions)
            self._outcomes = families.counter(
                "model_feedback_outcome",
                "Labelled rows by truth and prediction.",
                [*product(contract.predictions.bins[:-1], repeat=2)],
                ("truth", "predicted"),
            )
            reference = ("model_accuracy_reference_ratio", "Accuracy on the test rows.")
            metric = "accuracy"
        else:
            self._absolute = families.counter(
                "model_feedback_absolute_error", "Sum of |truth - prediction| of labelled rows."
            )
            self._squared = families.counter("model_feedback_squared_error", "Sum of its squares.")
            reference = ("model_absolute_error_reference", "Mean absolute error on the test rows.")
            metric = "mae"
        if metric in contract.metrics:
            families.constant(*reference, {(): contract.metrics[metric]})

    def count(self, feedback: Feedback) -> str:
        """Count labels, a reward, or both; with both, the reward is the caller's.

        Returns:
            COUNTED, or one of SKIPPED.
        """
        own, rows, reward = self._families.counters.own, feedback.rows, feedback.reward
        truth, predicted = feedback.truth or [], feedback.predicted or []
        skipped = self._reason_to_skip(feedback)
        if skipped:
            own[self._skipped[skipped]] += rows
            return skipped
        if truth and predicted and self._contract.classes:
            pairs = [*zip(truth, predicted, strict=True)]
            self._count_classes(pairs)
            if reward is None:
                reward = sum(true == guess for true, guess in pairs) / rows
        elif truth and predicted:
            errors = np.subtract(truth, predicted)
            own[self._absolute] += float(np.abs(errors).sum())
            own[self._squared] += float((errors**2).sum())
        own[self._rows] += rows
        own[self._reward] += (reward or 0) * rows
        if feedback.answered_at is not None:
            self._delay.observe(max(0.0, time.time() - feedback.answered_at))
        return COUNTED

    def _reason_to_skip(self, feedback: Feedback) -> str:
        if feedback.version not in ("", self._contract.version):
            return OTHER_VERSION
        of_classes = bool(self._contract.classes)
        if feedback.truth and not feedback.predicted:
            return "" if of_classes and feedback.reward is not None else NO_PREDICTION
        return "" if of_classes or feedback.truth else NO_TRUTH

    def _count_classes(self, pairs: Iterable[tuple[object, object]]) -> None:
        width = self._other + 1
        for truth, predicted in pairs:
            row, column = (self._bins.get(name, self._other) for name in (truth, predicted))
            self._families.counters.own[self._outcomes + row * width + column] += 1


def _class_bins(reference: Reference) -> tuple[dict[object, int], int]:
    """The bin of each class that has its own, and `other`, the last but one, of all the rest."""
    bins: dict[object, int] = {name: i for i, name in enumerate(reference.categories or [])}
    return bins, len(reference.bins) - 2
