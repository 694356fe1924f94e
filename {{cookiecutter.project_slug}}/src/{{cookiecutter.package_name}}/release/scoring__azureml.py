"""What Azure ML's scoring of MLflow models takes and answers.

It makes a table with the types of the model's signature, and answers what the model predicts: the
names of classes, no probabilities. A missing category is sent as the text that training gave it.
"""

from pathlib import Path

import numpy as np
import yaml

from ..contract import ABSOLUTE_TOLERANCE, Contract
from ..served_model import MISSING, differing_rows


def drop_example(model: Path) -> None:
    """Take the input example out of a model folder's MLmodel file.

    Azure ML would take the types from it, and its JSON has numbers of 64 bits: the model, which was
    trained on 32, refuses them.
    """
    path = model / "MLmodel"
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    content.pop("saved_input_example_info", None)
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def golden_request(contract: Contract) -> dict:
    """A request with all of the contract's golden rows."""
    names = [feature.name for feature in contract.features]
    missing = {f.name: MISSING if f.kind == "category" else None for f in contract.features}
    rows = [
        [missing[name] if row.inputs[name] is None else row.inputs[name] for name in names]
        for row in contract.golden
    ]
    return {"input_data": {"columns": names, "index": [*range(len(rows))], "data": rows}}


def wrong_rows(contract: Contract, answers: list) -> np.ndarray:
    """Indices of the golden rows that are answered wrong: another class, or another value.

    Raises:
        TypeError, ValueError: the answers are no predictions.
    """
    expected = np.array([row.outputs for row in contract.golden])
    if not contract.classes:
        return differing_rows(np.array(answers, dtype=float).reshape(-1, 1), expected)
    if len(answers) != len(expected):
        return np.arange(len(expected))
    # Of two classes that are as good as equal, either may be the most probable one.
    likely = expected >= expected.max(axis=1, keepdims=True) - ABSOLUTE_TOLERANCE
    given = np.array([[name == str(answer) for name in contract.classes] for answer in answers])
    return np.flatnonzero(~(likely & given).any(axis=1))
