"""Fit one candidate, and choose the form in which it is served."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import Any

import numpy as np
import pandas as pd
import skops.io
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter

from modelloop.contract.contract import ServedForm
from modelloop.contract.served_model import (
    Predict,
    Table,
    differs,
    load_onnx,
    load_skops,
    sklearn_outputs,
)
from modelloop.errors import UserError
from modelloop.project import ProblemType, Project
from modelloop.table.columns import DataError
from modelloop.table.prepare import GROUP, TIME, Rows, array_of, weights
from modelloop.training import problem
from modelloop.training.by_position import by_position

FOLDS = 5
BOOSTED = ("lightgbm", "xgboost")  # what onnxmltools converts for us


@dataclass(frozen=True)
class Trained:
    """A fitted candidate, and the file that the server loads."""

    model: Pipeline
    classes: list[str]
    cross_validation: dict[str, float]  # mean over the folds, by metric
    served: ServedForm
    file: bytes
    predict: Predict


def train(project: Project, build: Callable[[], Pipeline], rows: Rows, seed: int) -> Trained:
    """Cross-validate a candidate on the training rows, fit it on all of them, convert it.

    The test rows are only used to compare the converted model with the original.
    """
    scores = cross_validate(build, rows, seed)
    model = fit(build(), rows, rows.train)
    served, file, predict = choose_form(project, model, table_of(rows.inputs(rows.test)))
    classes = problem.of_target(rows.target).classes_of(model)
    return Trained(model, classes, scores, served, file, predict)


def fit(model: Pipeline, rows: Rows, some: pd.DataFrame) -> Pipeline:
    """Fit a pipeline on some rows, with their weights where they have any.

    Raises:
        UserError: the rows have weights, and the pipeline's estimator takes none.
    """
    inputs, truth, weight = rows.inputs(some), array_of(some[rows.target.name]), weights(some)
    del some  # the inputs are a copy
    if weight is None:
        return model.fit(inputs, truth)
    name, estimator = model.steps[-1]
    if not has_fit_parameter(estimator, "sample_weight"):
        raise UserError(
            f"WEIGHT is set in model.py, but {type(estimator).__name__} takes no sample_weight: "
            "take the candidate out of CANDIDATES, or set WEIGHT = None"
        )
    return model.fit(inputs, truth, **{f"{name}__sample_weight": weight})


def cross_validate(build: Callable[[], Pipeline], rows: Rows, seed: int) -> dict[str, float]:
    """Mean of every metric over the folds, by which the best candidate is chosen."""
    scores = [_fold_score(build(), rows, *fold) for fold in folds(rows, seed)]
    return {name: float(np.mean([s[name] for s in scores])) for name in scores[0]}


def _fold_score(
    model: Pipeline, rows: Rows, fitted: np.ndarray, held_out: np.ndarray
) -> dict[str, float]:
    fit(model, rows, rows.train.iloc[fitted])
    some = rows.train.iloc[held_out]
    outputs = sklearn_outputs(model, rows.inputs(some), problem.type_of(rows.target))
    known, kind = array_of(some[rows.target.name]), problem.of_target(rows.target)
    return kind.score(known, outputs, kind.classes_of(model), weights(some))


def folds(rows: Rows, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The positions of the training rows to fit and to hold out, fold by fold, as SPLIT says.

    Raises:
        DataError: there are fewer groups than folds, or the oldest rows have one class only.
    """
    truth = array_of(rows.train[rows.target.name])
    if TIME in rows.train.columns:
        for fitted, held_out in TimeSeriesSplit(FOLDS).split(truth):
            if rows.target.kind == "category" and len(np.unique(truth[fitted])) < 2:
                raise DataError(
                    f"cross-validation in time: the oldest {len(fitted)} rows have one class only, "
                    f"{truth[0]!r}; load newer or more rows, or choose another SPLIT"
                )
            yield fitted, held_out
        return
    groups = rows.train[GROUP] if GROUP in rows.train.columns else None
    if groups is not None and groups.nunique() < FOLDS:
        raise DataError(
            f"SPLIT is by_group, but {groups.nunique()} groups are to train, at least {FOLDS} "
            "needed: one for each fold of the cross-validation"
        )
    splitter = problem.of_target(rows.target).folds(FOLDS, seed, grouped=groups is not None)
    yield from splitter.split(np.zeros(len(truth)), truth, groups)


def from_sklearn(model: Pipeline, problem_type: ProblemType) -> Predict:
    """Make a predict function from a pipeline that was fitted on a data frame."""
    return lambda table: sklearn_outputs(model, pd.DataFrame(dict(table)), problem_type)


def choose_form(
    project: Project, model: Pipeline, rows: Table
) -> tuple[ServedForm, bytes, Predict]:
    """ONNX where its outputs equal scikit-learn's on these rows, else skops.

    On mixed columns ONNX takes some hundredths of a millisecond a row, scikit-learn several.

    Args:
        project: the repository, whose features.py the server trusts.
        model: the fitted pipeline.
        rows: the test rows, on which both are compared.

    Returns:
        The form, the content of its file, and its predict function.

    Raises:
        UserError: the server could load the model in neither form.
    """
    original = from_sklearn(model, project.problem_type)
    expected = original(rows)
    try:
        file = to_onnx(model, rows)
        predict = load_onnx(file, project.problem_type)
        actual = predict(rows)
        difference = float(np.abs(actual - expected).max())
    except Exception as error:  # converters raise any type; the contract keeps the reason
        reason = f"ONNX conversion failed: {in_one_line(error)}"
    else:
        if not differs(actual, expected):
            reason = f"ONNX answers what scikit-learn answers on {len(expected)} test rows"
            form = ServedForm(
                form="onnx", file="model.onnx", largest_difference=difference, reason=reason
            )
            return form, file, predict
        reason = f"ONNX differs from scikit-learn by {difference:.3g} on the test rows"
    form = ServedForm(form="skops", file="served.skops", largest_difference=0, reason=reason)
    file = skops.io.dumps(by_position(model, project.features))
    try:
        predict = load_skops(project, file, project.problem_type)
        actual = predict(rows)
    except Exception as error:  # it needs a data frame, or a type that the server refuses
        raise _refused(reason, in_one_line(error)) from error
    if differs(actual, expected):
        raise _refused(reason, "it answers otherwise when it takes its columns by position")
    return form, file, predict


def _refused(onnx: str, without_onnx: str) -> UserError:
    return UserError(
        "this candidate is refused, the server could not load it:\n"
        f"  {onnx}\n"
        f"  without ONNX: {without_onnx}\n"
        "Without ONNX, only types of scikit-learn, of numpy and of this package's features.py are "
        "served, and they must work on arrays. Move classes and functions of your own to "
        "features.py, name a package in its TRUSTED_PACKAGES, change the candidate in model.py "
        "until it converts, or take it out of CANDIDATES."
    )


def to_onnx(model: Pipeline, rows: Table) -> bytes:
    """Convert a fitted pipeline; every column is an input of its own, (n, 1)."""
    from skl2onnx import get_latest_tested_opset_version
    from skl2onnx import to_onnx as convert
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    if not isinstance(model[0], ColumnTransformer) and all(v.dtype == "f4" for v in rows.values()):
        # Most converters take one input, not one a column.
        together = ColumnTransformer([("together", "passthrough", [*rows])])
        model = Pipeline([("columns", together.fit(pd.DataFrame(dict(rows)))), *model.steps])
    types = [
        (name, FloatTensorType([None, 1]) if v.dtype == np.float32 else StringTensorType([None, 1]))
        for name, v in rows.items()
    ]
    last = model.steps[-1][1]
    options = {id(last): {"zipmap": False}} if hasattr(last, "classes_") else None
    opset = None
    if library := boosted_library(last):
        register_converter(last, library)
        # onnxmltools writes the trees of ai.onnx.ml 3; skl2onnx would request 5.
        opset = {"": get_latest_tested_opset_version(), "ai.onnx.ml": 3}
    onnx = convert(model, initial_types=types, options=options, target_opset=opset)
    _name_inputs(onnx.graph, list(rows))
    return onnx.SerializeToString()


def _name_inputs(graph: Any, names: list[str]) -> None:
    """Give the inputs the columns' names: skl2onnx makes identifiers of them, `a_b` of `a b`."""
    given = {put.name: name for put, name in zip(graph.input, names, strict=True)}
    for put in graph.input:
        put.name = given[put.name]
    for node in graph.node:
        node.input[:] = [given.get(name, name) for name in node.input]


def boosted_library(estimator: object) -> str | None:
    """Which of BOOSTED an estimator, or a class that it extends, comes from."""
    origins = {base.__module__.partition(".")[0] for base in type(estimator).__mro__}
    return next((name for name in BOOSTED if name in origins), None)


def register_converter(estimator: object, library: str) -> None:
    """Register onnxmltools' converter of this type of estimator with skl2onnx.

    onnxmltools' modules import the library that they convert, so they are imported here only.
    """
    from skl2onnx import update_registered_converter
    from skl2onnx.common import shape_calculator as shapes

    if library == "lightgbm":
        from onnxmltools.convert.lightgbm.operator_converters import LightGbm

        convert = with_float32_thresholds(LightGbm.convert_lightgbm)
    else:
        from onnxmltools.convert.xgboost.operator_converters import XGBoost

        convert = XGBoost.convert_xgboost
    if hasattr(estimator, "classes_"):
        shape = shapes.calculate_linear_classifier_output_shapes
        options = {"zipmap": [True, False], "nocl": [True, False]}  # skl2onnx needs both
    else:
        shape, options = shapes.calculate_linear_regressor_output_shapes, None
    kind = type(estimator)
    update_registered_converter(
        kind, f"Boosted{kind.__name__}", shape, convert, overwrite=True, options=options
    )


def with_float32_thresholds(convert: Callable[..., None]) -> Callable[..., None]:
    """Wrap a converter, so that it rounds thresholds down to float32, as `x <= threshold` needs.

    LightGBM's are float64 and lie halfway between two values, where the imputer's median may lie
    too. Rounded up, a threshold would send values to the other branch.
    """

    def rounded(scope: object, operator: object, container: Any) -> None:
        add_node = container.add_node

        def add(*node: object, **attributes: object) -> None:
            if "nodes_values" in attributes:
                exact = np.array(attributes["nodes_values"], dtype=np.float64)
                near = exact.astype(np.float32)
                below = np.nextafter(near, np.float32(-np.inf))
                attributes["nodes_values"] = np.where(near > exact, below, near).tolist()
            add_node(*node, **attributes)

        container.add_node = add
        convert(scope, operator, container)

    return rounded


def in_one_line(error: Exception) -> str:
    """An error's type and first line: converters' messages may fill pages."""
    first = next(filter(str.strip, str(error).splitlines()), "no message")
    return f"{type(error).__name__}: {shorten(first, 300)}"


def table_of(inputs: pd.DataFrame) -> Table:
    """A prepared frame as the input of predict functions: arrays by name."""
    return {name: array_of(inputs[name]) for name in inputs.columns}
