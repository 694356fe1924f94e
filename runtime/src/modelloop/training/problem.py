"""The interface of the two problem types, and the choice between them."""

from typing import Protocol

import numpy as np
from matplotlib.figure import Figure
from sklearn.model_selection import BaseCrossValidator
from sklearn.pipeline import Pipeline

from modelloop.project import ProblemType
from modelloop.table.columns import ColumnRule
from modelloop.training import classification, regression


class Problem(Protocol):
    """A problem type; the modules `classification` and `regression` implement it."""

    HIGHER_IS_BETTER: dict[str, bool]  # every metric by name

    def classes_of(self, model: Pipeline) -> list[str]:
        """The class names, in the order of the model's outputs; none of a regression."""

    def check_sides(self, train: np.ndarray, test: np.ndarray, target: str) -> None:
        """Check that both sides of the split have what training and testing need.

        Raises:
            DataError: a class is too rare, or all values of a side are the same.
        """

    def score(
        self,
        truth: np.ndarray,
        outputs: np.ndarray,
        classes: list[str],
        weights: np.ndarray | None = None,
    ) -> dict[str, float]:
        """Every metric by name; one that is not defined on these rows is NaN."""

    def folds(self, n: int, seed: int, *, grouped: bool) -> BaseCrossValidator:
        """Cross-validation folds; a group is in one of them."""

    def figures(
        self, truth: np.ndarray, outputs: np.ndarray, classes: list[str]
    ) -> dict[str, Figure]:
        """Plots of the answers on the test rows, by name."""


def of_type(problem_type: ProblemType) -> Problem:
    """The module of a problem type."""
    return classification if problem_type == "classification" else regression


def of_target(target: ColumnRule) -> Problem:
    """The module for a target: categories are classified, numbers are regressed."""
    return of_type(type_of(target))


def type_of(target: ColumnRule) -> ProblemType:
    """The problem type of a target."""
    return "classification" if target.kind == "category" else "regression"
