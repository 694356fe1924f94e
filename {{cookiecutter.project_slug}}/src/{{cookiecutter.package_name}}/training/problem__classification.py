"""What is particular to classification: metrics, folds and plots.

`truth` is (n,) class names, `outputs` (n, classes) probabilities in the order of `classes`.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import metrics as m
from sklearn.model_selection import StratifiedKFold

HIGHER_IS_BETTER = {
    "accuracy": True,
    "balanced_accuracy": True,
    "f1_macro": True,
    "roc_auc": True,
    "log_loss": False,
}


def classes_of(model: object) -> list[str]:
    """The class names, in the order of the model's outputs."""
    return [str(c) for c in model.classes_]


def score(truth: np.ndarray, outputs: np.ndarray, classes: list[str]) -> dict[str, float]:
    """Every metric by name; one that is not defined on these rows is NaN."""
    names = np.array(classes)
    predicted = names[outputs.argmax(axis=1)]
    outputs = outputs / outputs.sum(axis=1, keepdims=True)  # float32 models sum to nearly 1
    scores = {
        "accuracy": m.accuracy_score(truth, predicted),
        "balanced_accuracy": m.recall_score(
            truth, predicted, labels=np.unique(truth), average="macro", zero_division=0.0
        ),
        "f1_macro": m.f1_score(
            truth, predicted, labels=classes, average="macro", zero_division=0.0
        ),
        "log_loss": m.log_loss(truth, outputs, labels=classes),
        "roc_auc": float("nan"),
    }
    if len(np.unique(truth)) == len(classes):
        positive = outputs[:, 1] if len(classes) == 2 else outputs
        scores["roc_auc"] = m.roc_auc_score(truth, positive, labels=classes, multi_class="ovr")
    return {name: float(value) for name, value in scores.items()}


def folds(n: int, seed: int) -> StratifiedKFold:
    """Cross-validation folds with the classes' shares kept."""
    return StratifiedKFold(n, shuffle=True, random_state=seed)


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
