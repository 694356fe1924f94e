"""Fit one candidate and choose the form in which it is served."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import skops.io
from sklearn.pipeline import Pipeline

from ..contract import ServedForm
from ..project import PROBLEM_TYPE
from ..served_model import Predict, Table, differs, from_sklearn, load_onnx
from . import problem
from .prepare import Rows

FOLDS = 5


@dataclass(frozen=True)
class Trained:
    """A fitted candidate with the file that the server loads."""

    model: Pipeline
    classes: list[str]
    cross_validation: dict[str, float]  # mean over the folds, by metric
    served: ServedForm
    file: bytes
    predict: Predict


def train(build: Callable[[], Pipeline], rows: Rows, seed: int) -> Trained:
    """Cross-validate a candidate on the training rows, fit it on all of them, convert it.

    The test rows are only used to compare the converted model with the original.
    """
    inputs, truth = rows.inputs(rows.train), rows.train[rows.target.name]
    scores = cross_validate(build, inputs, truth, seed)
    model = build().fit(inputs, truth)
    served, file, predict = choose_form(model, table_of(rows.inputs(rows.test)))
    return Trained(model, problem.classes_of(model), scores, served, file, predict)


def cross_validate(
    build: Callable[[], Pipeline], inputs: pd.DataFrame, truth: pd.Series, seed: int
) -> dict[str, float]:
    """Mean of every metric over the folds; this picks the candidate, the test rows judge it."""
    scores = []
    for fit, held_out in problem.folds(FOLDS, seed).split(inputs, truth):
        model = build().fit(inputs.iloc[fit], truth.iloc[fit])
        outputs = from_sklearn(model, PROBLEM_TYPE)(table_of(inputs.iloc[held_out]))
        known = truth.iloc[held_out].to_numpy()
        scores.append(problem.score(known, outputs, problem.classes_of(model)))
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def choose_form(model: Pipeline, rows: Table) -> tuple[ServedForm, bytes, Predict]:
    """ONNX where it answers what scikit-learn answers on these rows, else skops.

    On mixed columns ONNX takes some hundredths of a millisecond a row, scikit-learn several.
    """
    original = from_sklearn(model, PROBLEM_TYPE)
    expected = original(rows)
    try:
        file = to_onnx(model, rows)
        predict = load_onnx(file, PROBLEM_TYPE)
        actual = predict(rows)
    except Exception as error:  # converters raise anything; the reason is kept in the contract
        first_line, _, _ = str(error).partition("\n")
        reason = f"ONNX conversion failed: {type(error).__name__}: {first_line}"
    else:
        difference = float(np.abs(actual - expected).max())
        if not differs(actual, expected):
            reason = f"ONNX answers what scikit-learn answers on {len(expected)} test rows"
            form = ServedForm(
                form="onnx", file="model.onnx", largest_difference=difference, reason=reason
            )
            return form, file, predict
        reason = f"ONNX differs from scikit-learn by {difference:.3g} on the test rows"
    form = ServedForm(form="skops", file="served.skops", largest_difference=0, reason=reason)
    return form, skops.io.dumps(model), original


def to_onnx(model: Pipeline, rows: Table) -> bytes:
    """Convert a fitted pipeline; every column is an input of its own, (n, 1)."""
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    types = [
        (name, FloatTensorType([None, 1]) if v.dtype == np.float32 else StringTensorType([None, 1]))
        for name, v in rows.items()
    ]
    last = model.steps[-1][1]
    options = {id(last): {"zipmap": False}} if hasattr(last, "classes_") else None
    return convert(model, initial_types=types, options=options).SerializeToString()


def table_of(inputs: pd.DataFrame) -> Table:
    """A prepared frame as the table that served models take."""
    return {
        name: inputs[name].to_numpy(dtype=np.float32 if inputs[name].dtype == "float32" else object)
        for name in inputs.columns
    }
