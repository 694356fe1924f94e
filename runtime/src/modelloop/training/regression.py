"""What only regression has: its metrics, folds and plots.

`truth` is (n,) values, `outputs` (n, 1) predicted values, both in the target's unit; `classes` is
empty.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.model_selection import GroupKFold, KFold
from sklearn.pipeline import Pipeline

from modelloop.table.columns import DataError

HIGHER_IS_BETTER = {"rmse": False, "mae": False, "r2": True}


def classes_of(model: Pipeline) -> list[str]:
    """No classes: the model's only output is the value."""
    return []


def check_sides(train: np.ndarray, test: np.ndarray, target: str) -> None:
    """Check that both sides of the split have what training and testing need.

    Raises:
        DataError: all values of a side are the same.
    """
    for side, truth in (("train", train), ("test", test)):
        if (truth == truth[0]).all():
            raise DataError(
                f"column {target}: every row to {side} has the value {truth[0]:g}: there is "
                "nothing to learn or to judge"
            )


def score(
    truth: np.ndarray,
    outputs: np.ndarray,
    classes: list[str],
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """Every metric by name; one that is not defined on these rows is NaN."""
    predicted = outputs[:, 0]
    return {
        "rmse": float(m.root_mean_squared_error(truth, predicted, sample_weight=weights)),
        "mae": float(m.mean_absolute_error(truth, predicted, sample_weight=weights)),
        "r2": float(m.r2_score(truth, predicted, sample_weight=weights))
        if len(truth) > 1
        else float("nan"),
    }


def folds(n: int, seed: int, *, grouped: bool) -> KFold | GroupKFold:
    """Cross-validation folds; a group is in one of them."""
    kind = GroupKFold if grouped else KFold
    return kind(n, shuffle=True, random_state=seed)


def figures(truth: np.ndarray, outputs: np.ndarray, classes: list[str]) -> dict[str, Figure]:
    """Residuals (truth minus prediction) over the prediction."""
    predicted = outputs[:, 0]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(predicted, truth - predicted, s=14, alpha=0.7)
    axes.axhline(0, color="k", linewidth=1)
    axes.set(xlabel="predicted", ylabel="truth - predicted", title="Residuals, test rows")
    return {"residuals": figure}
