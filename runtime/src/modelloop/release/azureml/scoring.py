"""Requests and responses of Azure ML's scoring script for MLflow models.

The script makes a table with the types of the model's signature. It responds with the model's
predictions: names of classes, no probabilities. A missing category is sent as the text that stood
for it in training.
"""

from pathlib import Path
from typing import Any

import numpy as np
import yaml

from modelloop.contract.contract import ABSOLUTE_TOLERANCE, Contract
from modelloop.contract.served_model import MISSING, differing_rows


def drop_example(model: Path) -> None:
    """Remove the input example from a model folder's MLmodel file.

    Azure ML would read the types from it. Its JSON has numbers of 64 bits, which the model, trained
    on 32 bits, refuses.
    """
    path = model / "MLmodel"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("saved_input_example_info", None)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def golden_request(contract: Contract) -> dict[str, Any]:
    """A request with all of the contract's golden rows."""
    names = [feature.name for feature in contract.features]
    missing = {f.name: MISSING if f.kind == "category" else None for f in contract.features}
    rows = [
        [missing[name] if row.inputs[name] is None else row.inputs[name] for name in names]
        for row in contract.golden
    ]
    return {"input_data": {"columns": names, "index": [*range(len(rows))], "data": rows}}


def wrong_rows(contract: Contract, predictions: list[Any]) -> np.ndarray:
    """Indices of the golden rows whose prediction is another class, or another value.

    Args:
        contract: of the model that was sent `golden_request`.
        predictions: the response as parsed JSON: the name of a class, or a number, for each row.

    Raises:
        TypeError, ValueError: the response holds no predictions.
    """
    expected = np.array([row.outputs for row in contract.golden])
    if not contract.classes:
        return differing_rows(np.array(predictions, dtype=float).reshape(-1, 1), expected)
    if len(predictions) != len(expected):
        return np.arange(len(expected))
    # Where probabilities differ by less than the tolerance, each of their classes is right.
    likely = expected >= expected.max(axis=1, keepdims=True) - ABSOLUTE_TOLERANCE
    given = np.array([[name == str(found) for name in contract.classes] for found in predictions])
    return np.flatnonzero(~(likely & given).any(axis=1))
