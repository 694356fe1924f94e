"""What is particular to regression: metrics, folds and plots.

`truth` is (n,) values, `outputs` (n, 1) predicted values, both in the target's unit; `classes` is
empty.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.model_selection import KFold

HIGHER_IS_BETTER = {"rmse": False, "mae": False, "r2": True}


def classes_of(model: object) -> list[str]:
    """No classes: the model's only output is the value."""
    return []


def score(truth: np.ndarray, outputs: np.ndarray, classes: list[str]) -> dict[str, float]:
    """Every metric by name; one that is not defined on these rows is NaN."""
    predicted = outputs[:, 0]
    return {
        "rmse": float(m.root_mean_squared_error(truth, predicted)),
        "mae": float(m.mean_absolute_error(truth, predicted)),
        "r2": float(m.r2_score(truth, predicted)) if len(truth) > 1 else float("nan"),
    }


def folds(n: int, seed: int) -> KFold:
    """Cross-validation folds."""
    return KFold(n, shuffle=True, random_state=seed)


def figures(truth: np.ndarray, outputs: np.ndarray, classes: list[str]) -> dict[str, Figure]:
    """Residuals (truth minus prediction) over the prediction."""
    predicted = outputs[:, 0]
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    axes.scatter(predicted, truth - predicted, s=14, alpha=0.7)
    axes.axhline(0, color="k", linewidth=1)
    axes.set(xlabel="predicted", ylabel="truth - predicted", title="Residuals, test rows")
    return {"residuals": figure}
