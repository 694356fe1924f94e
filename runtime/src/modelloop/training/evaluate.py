"""Measure what the gate checks: on the test rows, with the form that would be served."""

import math
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.inspection import permutation_importance
from sklearn.pipeline import Pipeline

from modelloop.contract.contract import Column, GoldenRow
from modelloop.contract.served_model import MISSING, Predict, to_table
from modelloop.errors import UserError
from modelloop.table.bins import shortest
from modelloop.table.columns import ColumnRule
from modelloop.table.prepare import CARRIED, array_of, weights
from modelloop.training.gate import Gate
from modelloop.training.problem import Problem, of_target
from modelloop.training.train import table_of

GOLDEN_ROWS = 20
LATENCY_CALLS = 100
IMPORTANCE_ROWS = 10_000  # more would cost minutes and show the same
IMPORTANCE_REPEATS = 5
IMPORTANCE_FEATURES = 100  # beyond: fewer rows and repeats, as each feature costs a prediction
MOST_BARS = 40  # of a plot


def best(cross_validation: Mapping[str, float], metric: str, problem: Problem) -> str:
    """The candidate with the best cross-validated score; the first of equals.

    Raises:
        UserError: no candidate has a score.
    """
    sign = 1 if problem.HIGHER_IS_BETTER[metric] else -1
    known = {name: score for name, score in cross_validation.items() if math.isfinite(score)}
    if not known:
        raise UserError(f"no candidate has a finite cross-validated {metric}: {cross_validation}")
    return max(known, key=lambda name: sign * known[name])


def slice_scores(
    rows: pd.DataFrame, target: ColumnRule, predict: Predict, classes: list[str], gate: Gate
) -> dict[str, float]:
    """The gate's metric in every group with enough rows, as "column=group" -> score."""
    outputs = predict(table_of(_inputs(rows, target.name)))
    truth, weight = array_of(rows[target.name]), weights(rows)
    problem = of_target(target)
    scores = {}
    for column in gate.slices:
        for group, places in rows.groupby(column).indices.items():
            if len(places) >= gate.slice_rows:
                of_group = None if weight is None else weight[places]
                found = problem.score(truth[places], outputs[places], classes, of_group)
                scores[f"{column}={group}"] = found[gate.metric]
    return scores


def latency(rows: pd.DataFrame, predict: Predict) -> float:
    """Median time to predict one row, milliseconds."""
    table = table_of(rows.head(LATENCY_CALLS))
    times = []
    for i in range(LATENCY_CALLS):
        at = i % min(len(rows), LATENCY_CALLS)
        row = {name: values[at : at + 1] for name, values in table.items()}
        start = time.perf_counter()
        predict(row)
        times.append(time.perf_counter() - start)
    return float(np.median(times) * 1000)


def golden_rows(features: list[Column], rows: pd.DataFrame, predict: Predict) -> list[GoldenRow]:
    """Rows with the served model's outputs: test rows, and copies with missing values.

    Every nullable feature is missing in one of the copies; of many, several are in each.
    """
    places = np.linspace(0, len(rows) - 1, min(GOLDEN_ROWS, len(rows))).astype(int)
    inputs = [
        {c.name: _plain(rows[c.name].iloc[i]) for c in features} for i in dict.fromkeys(places)
    ]
    nullable = [c.name for c in features if c.nullable]
    missing = [nullable[i::GOLDEN_ROWS] for i in range(min(GOLDEN_ROWS, len(nullable)))]
    inputs += [inputs[0] | dict.fromkeys(names) for names in missing]
    outputs = predict(to_table(features, [*inputs]))
    return [GoldenRow(inputs=i, outputs=o.tolist()) for i, o in zip(inputs, outputs, strict=True)]


def importance(
    model: Pipeline,
    predict: Predict,
    rows: pd.DataFrame,
    target: ColumnRule,
    metric: str,
    seed: int,
) -> Figure:
    """How much the metric worsens when a feature's values are shuffled among the test rows."""
    many = max(1, _inputs(rows.head(0), target.name).shape[1] / IMPORTANCE_FEATURES)
    most = min(len(rows), int(IMPORTANCE_ROWS / many))
    rows = rows.sample(most, random_state=seed).sort_index()
    inputs, truth = _inputs(rows, target.name), array_of(rows[target.name])
    problem = of_target(target)
    sign = 1 if problem.HIGHER_IS_BETTER[metric] else -1
    classes = problem.classes_of(model)

    def scorer(
        _: Pipeline, x: pd.DataFrame, y: np.ndarray, sample_weight: np.ndarray | None = None
    ) -> float:
        return sign * problem.score(y, predict(table_of(x)), classes, sample_weight)[metric]

    found = permutation_importance(
        model,
        inputs,
        truth,
        scoring=scorer,
        n_repeats=max(1, int(IMPORTANCE_REPEATS / many)),
        random_state=seed,
        sample_weight=weights(rows),
    )
    order = np.argsort(found.importances_mean)[-MOST_BARS:]
    figure = Figure(figsize=(6, 1 + 0.35 * len(order)), layout="constrained")
    axes = figure.subplots()
    axes.barh(
        [inputs.columns[i] for i in order],
        found.importances_mean[order],
        xerr=found.importances_std[order],
    )
    axes.set(xlabel=f"loss of {metric} when shuffled", title="Feature importance, test rows")
    return figure


def _inputs(rows: pd.DataFrame, target: str) -> pd.DataFrame:
    carried = [name for name in CARRIED if name in rows.columns]
    return rows.drop(columns=[target, *carried])


def _plain(value: Any) -> float | str | None:
    if value == MISSING or value != value:
        return None
    return value if isinstance(value, str) else shortest(value)
