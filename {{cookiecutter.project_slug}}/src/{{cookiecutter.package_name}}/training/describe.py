"""Write the contract of a trained model: what it is, what it saw, what it answers."""

import math

from .. import project
from ..contract import Contract, Provenance, ServedForm
from ..monitoring import reference
from ..served_model import Predict
from . import evaluate, problem
from .prepare import Rows, array_of, weights
from .train import table_of


def describe(
    rows: Rows, predict: Predict, classes: list[str], served: ServedForm, provenance: Provenance
) -> Contract:
    """The contract, without a decision and a version: those come from the gate and the registry."""
    columns = [reference.profile(rule, rows.train[rule.name]) for rule in rows.features]
    outputs = predict(table_of(rows.inputs(rows.test)))
    truth = array_of(rows.test[rows.target.name])
    scores = problem.score(truth, outputs, classes, weights(rows.test))
    return Contract(
        name=project.SLUG,
        description=project.DESCRIPTION,
        owner=project.OWNER_TEAM,
        problem_type=project.PROBLEM_TYPE,
        classes=classes,
        target=reference.profile(rows.target, rows.train[rows.target.name], role="target"),
        features=columns,
        predictions=reference.prediction_reference(
            predict(table_of(rows.inputs(rows.train))), classes
        ),
        outliers=reference.outlier_detector(
            rows.train, [column.name for column in columns if column.kind == "number"]
        ),
        served=served,
        golden=evaluate.golden_rows(columns, rows.test, predict),
        metrics={name: value for name, value in scores.items() if math.isfinite(value)},
        provenance=provenance,
    )
