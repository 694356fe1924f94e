"""Hold model.py against data.py, before a table is read."""

from types import ModuleType

import pandera.pandas as pa

from ..columns import DataError, check_names, column_rules, target_rule
from . import prepare, problem


def check(model: ModuleType, schema: pa.DataFrameSchema) -> None:
    """Find what no table could make right.

    Raises:
        DataError: a name, a type or a number that cannot be, with what is allowed.
    """
    if not model.TARGET:
        raise DataError("model.py has no TARGET yet: data/README.md says what comes next")
    features, target = column_rules(schema, model.FEATURES), target_rule(schema, model.TARGET)
    check_names(schema, prepare.needed(features, target, model.WEIGHT, model.SPLIT))
    twice = sorted({name for name in model.FEATURES if model.FEATURES.count(name) > 1})
    if twice or not features:
        raise DataError(f"model.py: FEATURES {f'has {twice} twice' if twice else 'is empty'}")
    if model.TARGET in model.FEATURES:
        raise DataError(f"model.py: TARGET {model.TARGET} is among the FEATURES")
    metrics = [*problem.HIGHER_IS_BETTER]
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
