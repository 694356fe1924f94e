"""Check model.py against data.py, before a table is read."""

from typing import Any

import pandera.pandas as pa

from modelloop.project import ProblemType
from modelloop.table import prepare
from modelloop.table.columns import DataError, check_names, column_rules, target_rule
from modelloop.training import problem


def check(model: Any, schema: pa.DataFrameSchema, problem_type: ProblemType) -> None:
    """Find what would be wrong with any table.

    Raises:
        DataError: a name, type or number is wrong; the message says what is allowed.
    """
    if not model.TARGET:
        raise DataError("model.py has no TARGET yet: data/README.md says what comes next")
    features, target = (
        column_rules(schema, model.FEATURES),
        target_rule(schema, model.TARGET, problem_type),
    )
    check_names(schema, prepare.needed(features, target, model.WEIGHT, model.SPLIT))
    twice = sorted({name for name in model.FEATURES if model.FEATURES.count(name) > 1})
    if twice or not features:
        raise DataError(f"model.py: FEATURES {f'has {twice} twice' if twice else 'is empty'}")
    if model.TARGET in model.FEATURES:
        raise DataError(f"model.py: TARGET {model.TARGET} is among the FEATURES")
    metrics = [*problem.of_type(problem_type).HIGHER_IS_BETTER]
    if model.GATE.metric not in metrics:
        found = model.GATE.metric
        raise DataError(f"model.py: the metric of GATE is {found!r}; use one of {metrics}")
    groups = [rule.name for rule in (*features, target) if rule.kind == "category"]
    for name in model.GATE.slices:
        if name not in groups:
            raise DataError(f"model.py: GATE slices by {name!r}; use some of {groups}")
    if not 0 < model.TEST_SHARE < 1:
        raise DataError(f"model.py: TEST_SHARE is {model.TEST_SHARE}; use a share between 0 and 1")
    if not model.CANDIDATES:
        raise DataError("model.py: CANDIDATES is empty, so there is nothing to train")
