"""The model in the form that is served, run alike by training, golden rows and server.

A table is a dict of column name to a one-dimensional array of n rows: float32 for numbers (NaN is
missing), str objects for categories (MISSING is missing). Outputs are float64 arrays of shape
(n, classes) with probabilities, or (n, 1) with values.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np

from .contract import (
    ABSOLUTE_TOLERANCE,
    RELATIVE_TOLERANCE,
    Column,
    Contract,
    ContractError,
    ServedForm,
)

ROWS = 10_000  # at once: an encoder of many categories makes a wide table of them
MISSING = "missing"  # a missing category is a category of its own, so that ONNX needs no imputer
PLAIN = ("numpy.dtype", "collections.OrderedDict")  # types that do nothing by themselves

Table = Mapping[str, np.ndarray]
Predict = Callable[[Table], np.ndarray]


def load(folder: Path, contract: Contract) -> Predict:
    """Load the served form from a model folder and return its predict function."""
    return load_form(folder, contract.served, contract.problem_type)


def load_form(folder: Path, served: ServedForm, problem_type: str) -> Predict:
    """Load a served form from a model folder, before there is a contract."""
    path = Path(folder) / served.file
    if not path.is_file():
        raise ContractError(f"{path}: the model file that the contract names is not there")
    loader = load_onnx if served.form == "onnx" else load_skops
    return loader(path.read_bytes(), problem_type)


def load_onnx(model: bytes, problem_type: str) -> Predict:
    """Make a predict function from ONNX bytes. One thread: the server scales by processes."""
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


def load_skops(model: bytes, problem_type: str) -> Predict:
    """Make a predict function from skops bytes.

    The pipeline takes columns by position, in the table's order (see training/by_position.py).

    Raises:
        ContractError: a type is not trusted, or its package is not in this environment.
    """
    import skops.io

    trusted = trusted_types(model)
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


def sklearn_outputs(fitted: object, rows: object, problem_type: str) -> np.ndarray:
    """What a fitted scikit-learn model answers, in the form that every predict function has."""
    if problem_type == "classification":
        return fitted.predict_proba(rows).astype(np.float64)
    return fitted.predict(rows).reshape(-1, 1).astype(np.float64)


def trusted_types(model: bytes) -> list[str]:
    """The types in a skops file that skops does not know by itself and that we let in.

    Raises:
        ContractError: a type is from elsewhere than scikit-learn, numpy, features.py and the
            packages that it names.
    """
    import skops.io

    from . import features  # only here: it imports scikit-learn, which ONNX does without

    found = skops.io.get_untrusted_types(data=model)
    packages = ("sklearn", *features.TRUSTED_PACKAGES)
    foreign = [
        name
        for name in found
        if not (name.partition(".")[0] in packages or name in PLAIN or _is_ours(name))
    ]
    if foreign:
        raise ContractError(
            f"the model file holds types that are not trusted: {foreign}; the server knows "
            "scikit-learn, numpy, what features.py defines and its TRUSTED_PACKAGES"
        )
    return found


def _is_ours(name: str) -> bool:
    """Whether features.py itself defines it; what it imports is another's."""
    from . import features

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

    Of two shapes all do. float32 sums are as exact as what they add up, so a value near 0 is
    measured by the usual ones.
    """
    if actual.shape != expected.shape:
        return np.arange(len(expected))
    scale = max(1.0, float(np.abs(expected).mean()))
    close = np.isclose(actual, expected, RELATIVE_TOLERANCE, ABSOLUTE_TOLERANCE * scale)
    return np.flatnonzero(~close.all(axis=1))


def check_golden(predict: Predict, contract: Contract) -> None:
    """Compare a loaded model with the contract's golden rows.

    Raises:
        ContractError: a prediction differs; the message shows the row and both answers.
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
