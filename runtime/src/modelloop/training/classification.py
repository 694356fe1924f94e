"""What only classification has: its metrics, folds and plots.

`truth` is (n,) class names, `outputs` (n, classes) probabilities in the order of `classes`.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from sklearn.pipeline import Pipeline

from modelloop.table.columns import DataError

LEAST_ROWS = 5  # of a class that trains: one for each fold

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "f1_macro": True,
    "roc_auc": True,
    "log_loss": False,
}


def classes_of(model: Pipeline) -> list[str]:
    """The class names, in the order of the model's outputs."""
    return [str(c) for c in model.classes_]


def check_sides(train: np.ndarray, test: np.ndarray, target: str) -> None:
    """Check that both sides of the split have what training and testing need.

    Raises:
        DataError: there is one class only, or a class has too few rows on a side.
    """
    (trained, rows), tested = np.unique(train, return_counts=True), np.unique(test)
    counts = dict(zip(trained.tolist(), rows.tolist(), strict=True))
    classes = sorted({*counts, *tested.tolist()})
    if len(classes) < 2:
        raise DataError(f"column {target}: the only class is {classes[0]!r}: nothing to learn")
    for name in classes:
        found = counts.get(name, 0)
        if found < LEAST_ROWS or name not in tested:
            raise DataError(
                f"column {target}: the class {name!r} has {found} rows to train and "
                f"{(test == name).sum()} to test, at least {LEAST_ROWS} and 1 are needed: bring "
                "more of them, join it with another class in `load`, or change TEST_SHARE or SPLIT"
            )


def score(
    truth: np.ndarray,
    outputs: np.ndarray,
    classes: list[str],
    weights: np.ndarray | None = None,
) -> dict[str, float]:
    """Every metric by name; one that is not defined on these rows is NaN.

    A class that the model does not know has the probability 0.
    """
    unknown = sorted({*truth.tolist()} - {*classes})
    if unknown:
        order = np.argsort(classes + unknown)
        classes = sorted(classes + unknown)
        outputs = np.pad(outputs, ((0, 0), (0, len(unknown))))[:, order]
    names = np.array(classes)
    predicted = names[outputs.argmax(axis=1)]
    weight = {"sample_weight": weights}
    outputs = outputs / outputs.sum(axis=1, keepdims=True)  # float32 models sum to nearly 1
    scores = {
        "accuracy": m.accuracy_score(truth, predicted, **weight),
        "balanced_accuracy": m.recall_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=0.0, **weight
        ),
        "f1_macro": m.f1_score(
            truth, predicted, labels=classes, average="macro", zero_division=0.0, **weight
        ),
        "log_loss": m.log_loss(truth, outputs, labels=classes, **weight),
        "roc_auc": float("nan"),
    }
    if len(np.unique(truth)) == len(classes):
        positive = outputs[:, 1] if len(classes) == 2 else outputs
        scores["roc_auc"] = m.roc_auc_score(
            truth, positive, labels=classes, multi_class="ovr", **weight
        )
    return {name: float(value) for name, value in scores.items()}


def folds(n: int, seed: int, *, grouped: bool) -> StratifiedKFold | StratifiedGroupKFold:
    """Cross-validation folds with the classes' shares kept; a group is in one of them."""
    kind = StratifiedGroupKFold if grouped else StratifiedKFold
    return kind(n, shuffle=True, random_state=seed)


def figures(truth: np.ndarray, outputs: np.ndarray, classes: list[str]) -> dict[str, Figure]:
    """The confusion matrix, rows truth and columns prediction."""
    predicted = np.array(classes)[outputs.argmax(axis=1)]
    matrix = m.confusion_matrix(truth, predicted, labels=classes)
    figure = Figure(figsize=(5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.imshow(matrix, cmap="Blues", vmin=0)
    for (row, column), count in np.ndenumerate(matrix):
        dark = count > matrix.max() / 2
        axes.text(column, row, f"{count}", ha="center", va="center", color="w" if dark else "k")
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set(xlabel="predicted", ylabel="truth", title="Confusion matrix, test rows")
    return {"confusion_matrix": figure}
