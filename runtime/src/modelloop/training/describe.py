"""Write the contract of a trained model: inputs, reference distributions, golden rows, metrics."""

import math

from modelloop.contract.contract import Contract, Provenance, ServedForm
from modelloop.contract.served_model import Predict
from modelloop.project import Project
from modelloop.table import bins
from modelloop.table.prepare import Rows, array_of, weights
from modelloop.training import evaluate, outliers, problem
from modelloop.training.train import table_of


def describe(
    project: Project,
    rows: Rows,
    predict: Predict,
    classes: list[str],
    served: ServedForm,
    provenance: Provenance,
) -> Contract:
    """The contract, still without decision and version, which the gate and the registry add.

    Args:
        project: the repository.
        rows: prepared rows on both sides of the split.
        predict: the served form's predict function.
        classes: the class names in the order of the outputs; empty for a regression.
        served: the form and file that are served.
        provenance: where the model comes from.
    """
    columns = [bins.profile(rule, rows.train[rule.name]) for rule in rows.features]
    outputs = predict(table_of(rows.inputs(rows.test)))
    truth = array_of(rows.test[rows.target.name])
    scores = problem.of_target(rows.target).score(truth, outputs, classes, weights(rows.test))
    return Contract(
        name=project.slug,
        description=project.description,
        owner=project.owner_team,
        problem_type=project.problem_type,
        classes=classes,
        target=bins.profile(rows.target, rows.train[rows.target.name], role="target"),
        features=columns,
        predictions=bins.prediction_reference(predict(table_of(rows.inputs(rows.train))), classes),
        outliers=outliers.outlier_detector(
            rows.train, [column.name for column in columns if column.kind == "number"]
        ),
        served=served,
        golden=evaluate.golden_rows(columns, rows.test, predict),
        metrics={name: value for name, value in scores.items() if math.isfinite(value)},
        provenance=provenance,
    )
