"""The model in its served form, which training, golden rows and the server run alike.

A table is a dict of column name to a one-dimensional array of n rows: float32 for numbers (NaN is
missing), str objects for categories (MISSING is missing). Outputs are float64 arrays of shape
(n, classes) with probabilities, or (n, 1) with values.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from modelloop.contract.contract import (
    ABSOLUTE_TOLERANCE,
    RELATIVE_TOLERANCE,
    Column,
    Contract,
    ContractError,
    ServedForm,
)
from modelloop.project import ProblemType, Project

ROWS = 10_000  # at once: an encoder of many categories makes a wide table of them
MISSING = "missing"  # a missing category is a category of its own, so that ONNX needs no imputer
HARMLESS = ("numpy.dtype", "collections.OrderedDict")  # types that run no code when they are loaded

Table = Mapping[str, np.ndarray]
Predict = Callable[[Table], np.ndarray]


def load(project: Project, folder: Path, contract: Contract) -> Predict:
    """Load the served form from a model folder and return its predict function.

    Raises:
        ContractError: the file is missing, holds a type that is not trusted, or needs a package
            that this environment does not have.
    """
    return load_form(project, folder, contract.served, contract.problem_type)


def load_form(
    project: Project, folder: Path, served: ServedForm, problem_type: ProblemType
) -> Predict:
    """Load a served form from a model folder where there is no contract yet; see `load`."""
    path = Path(folder) / served.file
    if not path.is_file():
        raise ContractError(f"{path}: the model file that the contract names is not there")
    if served.form == "onnx":
        return load_onnx(path.read_bytes(), problem_type)
    return load_skops(project, path.read_bytes(), problem_type)


def load_onnx(model: bytes, problem_type: ProblemType) -> Predict:
    """Make a predict function from ONNX bytes, of one thread: the server scales by processes."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [column.name for column in session.get_inputs()]
    output = session.get_outputs()[1 if problem_type == "classification" else 0].name

    def predict(table: Table) -> np.ndarray:
        rows = len(table[names[0]])
        parts = []
        for start in range(0, rows, ROWS):
            feed = {name: table[name][start : start + ROWS].reshape(-1, 1) for name in names}
            parts.append(session.run([output], feed)[0].astype(np.float64))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    return predict


def load_skops(project: Project, model: bytes, problem_type: ProblemType) -> Predict:
    """Make a predict function from skops bytes.

    The pipeline takes columns by position, in the table's order (see training/by_position.py).

    Raises:
        ContractError: a type is not trusted, or its package is not in this environment.
    """
    import skops.io

    trusted = trusted_types(project, model)
    try:
        fitted = skops.io.loads(model, trusted=trusted)
    except ModuleNotFoundError as error:
        raise ContractError(
            f"the model needs the package {error.name}, which this environment has not: add it to "
            "requirements/serve.in, then `make lock setup`"
        ) from error

    def predict(table: Table) -> np.ndarray:
        columns = list(table.values())
        kinds = {column.dtype for column in columns}
        dtype = np.float32 if kinds == {np.dtype(np.float32)} else object
        rows = np.empty((len(columns[0]), len(columns)), dtype)
        for place, column in enumerate(columns):
            rows[:, place] = column
        return sklearn_outputs(fitted, rows, problem_type)

    return predict


def sklearn_outputs(fitted: Any, rows: object, problem_type: ProblemType) -> np.ndarray:
    """The outputs of a fitted scikit-learn model, as every predict function returns them."""
    if problem_type == "classification":
        return fitted.predict_proba(rows).astype(np.float64)
    return fitted.predict(rows).reshape(-1, 1).astype(np.float64)


def trusted_types(project: Project, model: bytes) -> list[str]:
    """The types in a skops file that skops does not trust by itself, and this library does.

    Raises:
        ContractError: a type is neither from scikit-learn nor numpy nor features.py nor from the
            packages that features.py names.
    """
    import skops.io

    features = project.features  # not before: it imports scikit-learn, which ONNX does without
    found = skops.io.get_untrusted_types(data=model)
    packages = ("sklearn", *features.TRUSTED_PACKAGES)
    foreign = [
        name
        for name in found
        if not (name.partition(".")[0] in packages or name in HARMLESS or _is_ours(features, name))
    ]
    if foreign:
        raise ContractError(
            f"the model file holds types that are not trusted: {foreign}; the server knows "
            "scikit-learn, numpy, what features.py defines and its TRUSTED_PACKAGES"
        )
    return found


def _is_ours(features: ModuleType, name: str) -> bool:
    """Whether features.py itself defines a type, and does not just import it."""
    module, _, found = name.rpartition(".")
    defined = getattr(features, found, None)
    return module == features.__name__ == getattr(defined, "__module__", None)


def to_table(columns: Iterable[Column], rows: list[Mapping[str, object]]) -> Table:
    """Turn valid rows (missing is None) into a table."""
    return {c.name: to_array(c.kind, [row[c.name] for row in rows]) for c in columns}


def to_array(kind: str, values: Iterable[object]) -> np.ndarray:
    """Turn the valid values of one column (missing is None) into its array."""
    missing, dtype = (np.nan, np.float32) if kind == "number" else (MISSING, object)
    return np.array([missing if value is None else value for value in values], dtype=dtype)


def differs(actual: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two outputs of one model, of shape (n, m), differ by more than rounding."""
    return bool(differing_rows(actual, expected).size)


def differing_rows(actual: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Indices of the rows of two outputs of shape (n, m) that differ by more than rounding.

    Where the shapes differ, all rows do. The error of a float32 sum depends on its largest terms,
    so the tolerance of a value near 0 follows from the usual size of the outputs.
    """
    if actual.shape != expected.shape:
        return np.arange(len(expected))
    scale = max(1.0, float(np.abs(expected).mean()))
    close = np.isclose(actual, expected, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE * scale)
    return np.flatnonzero(~close.all(axis=1))


def check_golden(predict: Predict, contract: Contract) -> None:
    """Compare a loaded model with the contract's golden rows.

    Raises:
        ContractError: a prediction differs; the message shows the row and both outputs.
    """
    rows = contract.golden
    actual = predict(to_table(contract.features, [row.inputs for row in rows]))
    wrong = differing_rows(actual, np.array([row.outputs for row in rows]))
    if wrong.size:
        i = wrong[0]
        raise ContractError(
            f"golden row {i} of {len(rows)} differs: the contract says {rows[i].outputs}, this "
            f"model answers {actual[i].tolist()} for {rows[i].inputs}. The model file, or the "
            "libraries that run it, are not those that training judged; it is not served."
        )
