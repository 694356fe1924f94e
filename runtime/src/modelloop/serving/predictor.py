"""Answer rows: check them against the model contract, then run the model.

Nothing is coerced or guessed. The page on the server lists requests and their responses.
"""

import math
import re
import reprlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from types import NoneType
from typing import Any

import numpy as np

from modelloop.contract import served_model
from modelloop.contract.contract import Column, Contract, ContractError
from modelloop.project import Project

FLOAT32_MAX = float(np.finfo(np.float32).max)
MOST_NAMES_SHOWN = 20  # of a long list, in a message
SURROGATE = re.compile("[\ud800-\udfff]")  # half a character: no text for ONNX
SHORT = reprlib.Repr()
SHORT.maxstring = 80


class Refusal(Exception):  # noqa: N818 - the server is right, the request is not
    """A request that is not answered.

    Attributes:
        status: the HTTP status.
        reason: the kind of fault as one word for programs, such as OUT_OF_RANGE.
        row: index of the first offending row, counted from 0, where there is one.
        feature: its offending feature, where there is one.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        row: int | None = None,
        feature: str | None = None,
    ) -> None:
        """The message says to a person what was wrong and what is allowed."""
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.row = row
        self.feature = feature


@dataclass(frozen=True)
class Prediction:
    """The model's answer for n rows.

    Attributes:
        outputs: float64 of shape (n, classes) with probabilities, or (n, 1) with values.
        labels: the most probable class of each row; None for a regression.
        inputs: the model's inputs, a column of n values for each feature.
    """

    outputs: np.ndarray
    labels: list[str] | None
    inputs: served_model.Table


class Predictor:
    """A model that answers every row its contract allows, and refuses all others."""

    def __init__(self, contract: Contract, model: served_model.Predict, max_rows: int) -> None:
        """Prepare the check of each feature once, so that one row costs little.

        Args:
            contract: of the model.
            model: its predict function.
            max_rows: of a request; more are refused.
        """
        self.contract = contract
        self._model = model
        self._max_rows = max_rows
        self._names = [column.name for column in contract.features]
        self._readers = {column.name: _reader(column) for column in contract.features}

    @classmethod
    def load(cls, project: Project, folder: Path, max_rows: int) -> "Predictor":
        """Load contract and model from a folder, and prove the model on the golden rows.

        Args:
            project: the repository, whose features.py the model may need.
            folder: with contract.json and the served file.
            max_rows: of a request; more are refused.

        Raises:
            ContractError: the folder holds no such model, the model cannot run, or its outputs
                are not those that training recorded.
        """
        contract = Contract.read(folder)
        try:
            predictor = cls(contract, served_model.load(project, folder, contract), max_rows)
            predictor.check()
        except ContractError:
            raise
        except Exception as error:  # a broken file raises whatever its runtime raises
            reason = " ".join(str(error).split())
            raise ContractError(
                f"{Path(folder) / contract.served.file}: the model cannot be run: "
                f"{type(error).__name__}: {reason}"
            ) from error
        return predictor

    def check(self) -> None:
        """Answer the golden rows; the first time, that warms the model up.

        Raises:
            ContractError: an output differs from the contract.
        """
        served_model.check_golden(self._model, self.contract)

    def predict(self, names: list[str] | None, rows: list[list[object]]) -> Prediction:
        """Answer rows.

        Args:
            names: the feature of each column; None or empty means the contract's order.
            rows: one list per row as JSON gives it: numbers, text, None for a missing value.

        Raises:
            Refusal: the contract does not allow the rows.
            FloatingPointError: an output of the model is not finite.
        """
        inputs = self._table(names, rows)
        outputs = self._model(inputs)
        if not np.isfinite(outputs).all():
            raise FloatingPointError("the model answered NaN or infinity")
        if not self.contract.classes:
            return Prediction(outputs, None, inputs)
        classes = self.contract.classes
        return Prediction(outputs, [classes[i] for i in outputs.argmax(axis=1)], inputs)

    def _table(self, names: list[str] | None, rows: list[list[object]]) -> served_model.Table:
        if not rows:
            raise Refusal(422, "NO_ROWS", "there are no rows")
        if len(rows) > self._max_rows:
            raise Refusal(
                413, "TOO_MANY_ROWS", f"{len(rows)} rows, at most {self._max_rows} are answered"
            )
        if names and names != self._names:
            self._check_names(names)
        self._check_shape(rows)
        columns = dict(zip(names or self._names, zip(*rows, strict=True), strict=True))
        return {name: read(columns[name]) for name, read in self._readers.items()}

    def _check_names(self, names: list[str]) -> None:
        faults = {
            "missing": [name for name in self._names if name not in names],
            "unknown": [name for name in names if name not in self._readers],
            "given twice": [name for name in self._readers if names.count(name) > 1],
        }
        found = [f"{fault}: {_listed(which)}" for fault, which in faults.items() if which]
        if found:
            raise Refusal(
                422,
                "WRONG_NAMES",
                f"names {'; '.join(found)}. The features are {_listed(self._names)}",
                feature=next(which[0] for which in faults.values() if which),
            )

    def _check_shape(self, rows: list[list[object]]) -> None:
        if set(map(type, rows)) != {list}:
            row = next(i for i, values in enumerate(rows) if type(values) is not list)
            raise Refusal(
                422,
                "NOT_A_TABLE",
                f"row {row} is {_shown(rows[row])}; send a list of rows, each a list of values",
                row=row,
            )
        width = len(self._names)
        if set(map(len, rows)) != {width}:
            row = next(i for i, values in enumerate(rows) if len(values) != width)
            raise Refusal(
                422,
                "WRONG_WIDTH",
                f"row {row} has {len(rows[row])} values, not {width}: {_listed(self._names)}",
                row=row,
            )


Values = tuple[Any, ...]  # of one column, as JSON gives them


def is_category(text: str, allowed: Collection[object] | None) -> bool:
    """Whether a text is one of the allowed categories; None allows all that models can take."""
    if allowed is not None:
        return text in allowed
    return text != served_model.MISSING and not SURROGATE.search(text)


def _reader(column: Column) -> Callable[[Values], np.ndarray]:
    """The function that checks one column's values and turns them into an array."""
    if column.kind == "number":
        return _number_reader(column)
    return _boolean_reader(column) if column.dtype == "bool" else _category_reader(column)


def _number_reader(column: Column) -> Callable[[Values], np.ndarray]:
    low = -FLOAT32_MAX if column.minimum is None else max(column.minimum, -FLOAT32_MAX)
    high = FLOAT32_MAX if column.maximum is None else min(column.maximum, FLOAT32_MAX)

    def read(values: Values) -> np.ndarray:
        _check_types(column, values, {int, float}, "NOT_A_NUMBER")
        for row, value in enumerate(values):
            # NaN is outside every range, too.
            if value is not None and not low <= value <= high:
                finite = isinstance(value, int) or math.isfinite(value)
                raise _refused(column, "OUT_OF_RANGE" if finite else "NOT_FINITE", row, value)
        return served_model.to_array(column.kind, values)

    return read


def _category_reader(column: Column) -> Callable[[Values], np.ndarray]:
    allowed = None if column.categories is None else {*column.categories, None}

    def read(values: Values) -> np.ndarray:
        _check_types(column, values, {str}, "NOT_TEXT")
        if allowed is None or not allowed.issuperset(values):
            for row, value in enumerate(values):
                if value is not None and not is_category(value, allowed):
                    raise _refused(column, "UNKNOWN_CATEGORY", row, value)
        return served_model.to_array(column.kind, values)

    return read


def _boolean_reader(column: Column) -> Callable[[Values], np.ndarray]:
    read = _category_reader(column)

    def read_texts(values: Values) -> np.ndarray:
        for row, value in enumerate(values):
            if type(value) not in (bool, str, NoneType):
                raise _refused(column, "UNKNOWN_CATEGORY", row, value)
        return read(tuple(str(v).lower() if type(v) is bool else v for v in values))

    return read_texts


def _check_types(column: Column, values: Values, types: set[type], reason: str) -> None:
    # By exact type: for Python, but not for JSON, a boolean is an integer.
    wrong = set(map(type, values)) - types
    if column.nullable:
        wrong -= {NoneType}
    if wrong:
        row = next(i for i, value in enumerate(values) if type(value) in wrong)
        missing = values[row] is None
        raise _refused(column, "MISSING_VALUE" if missing else reason, row, values[row])


def _refused(column: Column, reason: str, row: int, value: object) -> Refusal:
    message = f"row {row}, {column.name}: {_shown(value)} is refused; send {_allowed(column)}"
    return Refusal(422, reason, message, row=row, feature=column.name)


def _allowed(column: Column) -> str:
    """The allowed values of a column, in words."""
    if column.dtype == "bool":
        text = "true or false"
    elif column.kind == "category":
        other = f"text other than {served_model.MISSING!r}"
        text = other if column.categories is None else f"one of {_listed(column.categories)}"
    else:
        low = "" if column.minimum is None else f" from {column.minimum:.15g}"
        high = "" if column.maximum is None else f" to {column.maximum:.15g}"
        text = f"a number{low}{high} {column.unit}".rstrip()
        if not (low and high):
            text += " within float32"
    return f"{text}, or null" if column.nullable else text


def _listed(names: Collection[str]) -> str:
    shown = [SHORT.repr(name) for name in list(names)[:MOST_NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _shown(value: object) -> str:
    """A value as JSON has it, cut to a length that fits a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return SHORT.repr(value)
