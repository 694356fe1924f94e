"""Score tables: an answer for each valid row, a reason for each refused one.

The batch job and the demo use a `Scorer`: the model in this process, or a server. The server's own
rules decide which rows are valid, column by column.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import pyarrow as pa

from modelloop.contract import served_model
from modelloop.contract.contract import Column, Contract
from modelloop.errors import UserError
from modelloop.project import Project
from modelloop.serving import client
from modelloop.serving.predictor import FLOAT32_MAX, Predictor, Refusal, is_category

REQUEST_ROWS = 1000  # of one request; a server takes 10,000 by default
EXACT = 2.0**53  # whole numbers up to here are exact in float64
NOT_FINITE = "the model answered NaN or infinity"
# Cells of a CSV file that mean a missing value: those of pandas, with which training read it.
NO_VALUE = ["", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND",
            "1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan",
            "null"]  # fmt: skip


@dataclass(frozen=True)
class Scored:
    """The answers to n rows.

    Attributes:
        outputs: float64 of shape (n, outputs): probabilities by class or one value; NaN in
            refused rows.
        refused: the reasons, by the position of the row.
        inputs: the rows that were answered, in order, as the model got them.
    """

    outputs: np.ndarray
    refused: dict[int, str]
    inputs: served_model.Table

    @property
    def answered(self) -> np.ndarray:
        """Whether a row was answered, booleans of shape (n,)."""
        return ~np.isnan(self.outputs).any(axis=1)


class Scorer(Protocol):
    """A model that scores tables.

    Attributes:
        contract: of that model.
    """

    contract: Contract

    def score(self, rows: pd.DataFrame) -> Scored:
        """Answer every row that the contract allows.

        Args:
            rows: (n, columns), in any order; columns that are no features are ignored. NaN, NA
                and None are missing values. Rows of a CSV file go through `typed` first.

        Raises:
            UserError: a feature has no column, or several.
            ServerError: a server cannot be reached, is too slow, or fails.
        """


class LocalModel:
    """The model in a folder, run in this process."""

    def __init__(self, project: Project, folder: Path) -> None:
        """Load contract and model, and check the model on the golden rows.

        Args:
            project: the repository; a model in the form skops may need its features.py.
            folder: holds the contract and the served file.

        Raises:
            ContractError: there is no such model, or its answers are not those of training.
        """
        self.contract = Contract.read(folder)
        self._rules = Rules(self.contract)
        self._model = served_model.load(project, folder, self.contract)
        served_model.check_golden(self._model, self.contract)

    def score(self, rows: pd.DataFrame) -> Scored:
        """Answer the rows; see Scorer."""
        checked = self._rules.check(rows)
        outputs = np.empty((0, len(self.contract.output_names)))
        if len(checked.positions):
            outputs = self._model(checked.table)
        failed = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
        return checked.scored(outputs, dict.fromkeys(failed.tolist(), NOT_FINITE))


class Endpoint:
    """A server over REST, as docs/server.md describes it."""

    def __init__(self, url: str, timeout: float = client.TIMEOUT) -> None:
        """Read the server's contract from its metadata; `timeout` is in seconds, of a request.

        Raises:
            ServerError: there is no server, or its metadata has no contract.
        """
        self.contract = client.contract(url, timeout)
        self._rules = Rules(self.contract)
        self._url, self._timeout = url, timeout

    def score(self, rows: pd.DataFrame) -> Scored:
        """Answer the rows; see Scorer."""
        checked = self._rules.check(rows)
        names = [column.name for column in self.contract.features]
        columns = [_values(rows[name].iloc[checked.positions]) for name in names]
        values = [list(row) for row in zip(*columns, strict=True)]
        outputs = np.full((len(values), len(self.contract.output_names)), np.nan)
        refused: dict[int, str] = {}
        pending = [
            list(range(start, min(start + REQUEST_ROWS, len(values))))
            for start in range(0, len(values), REQUEST_ROWS)
        ]
        while pending:
            places = pending.pop()
            try:
                outputs[places] = self._predict(names, [values[place] for place in places])
            except client.ServerError as error:
                if error.status == 413 and len(places) > 1:
                    half = len(places) // 2
                    pending += [places[half:], places[:half]]
                elif error.status == 422 and error.row is not None:
                    # The server validates by another contract than its metadata has.
                    refused[places.pop(error.row)] = error.info.removeprefix(f"row {error.row}, ")
                    pending += [places] if places else []
                else:
                    raise
        return checked.scored(outputs, refused)

    def _predict(self, names: list[str], rows: list[list[object]]) -> list[list[float]]:
        response: Any = client.predict(
            self._url, {"data": {"names": names, "ndarray": rows}}, self._timeout
        )
        version, outputs = response["meta"]["tags"]["model_version"], response["data"]["names"]
        if (version, outputs) != (self.contract.version, self.contract.output_names):
            raise client.ServerError(
                f"{self._url} answers with version {version} of the model, its metadata said "
                f"{self.contract.version}: it is being released; start again when that is done"
            )
        values: list[list[float]] = response["data"]["ndarray"]
        return values


def missing_columns(table: pd.DataFrame, contract: Contract) -> list[str]:
    """The features that a table has no column for."""
    return [column.name for column in contract.features if column.name not in table.columns]


def added_columns(contract: Contract) -> list[str]:
    """The columns of results after those of the input: probabilities, prediction, version."""
    return [*(f"probability_{name}" for name in contract.classes), "prediction", "model_version"]


def labels(outputs: np.ndarray, contract: Contract) -> list[str | None] | None:
    """The most probable class of each row of outputs, (n, classes), None for a refused one.

    Returns:
        None for a regression.
    """
    if not contract.classes:
        return None
    names = np.array([*contract.classes, None], dtype=object)
    best = np.where(np.isnan(outputs).any(axis=1), len(contract.classes), outputs.argmax(axis=1))
    return names[best].tolist()


def typed(text: pd.DataFrame, contract: Contract) -> pd.DataFrame:
    """Give the features of a CSV file, which is read as text, their types.

    In each feature the words of NO_VALUE become None, and numbers where a number is expected become
    float64. Text that is no number stays, for its row to be refused.
    """
    known = [column for column in contract.features if column.name in text.columns]
    return text.assign(**{column.name: _typed(column, text[column.name]) for column in known})


@dataclass(frozen=True)
class Checked:
    """Rows that were checked against the contract: n in all, of which m are valid.

    Attributes:
        rows: n.
        positions: of the valid rows, ascending, of shape (m,).
        table: the valid rows as the model takes them.
        refused: the reasons, by the position of the row.
    """

    rows: int
    positions: np.ndarray
    table: served_model.Table
    refused: dict[int, str]

    def scored(self, outputs: np.ndarray, refused: dict[int, str]) -> Scored:
        """The answers to all n rows.

        Args:
            outputs: of the valid rows, (m, outputs).
            refused: the reasons of valid rows that were not answered, by the place among the m.
        """
        table = self.table
        if refused:
            answered = np.ones(len(self.positions), dtype=bool)
            answered[[*refused]] = False
            table = {name: values[answered] for name, values in table.items()}
            outputs = np.where(answered[:, None], outputs, np.nan)
        if len(self.positions) < self.rows:
            outputs_of_all = np.full((self.rows, outputs.shape[1]), np.nan)
            outputs_of_all[self.positions] = outputs
            outputs = outputs_of_all
        later = {int(self.positions[place]): reason for place, reason in refused.items()}
        return Scored(outputs, self.refused | later, table)


class Rules:
    """The server's rules, for many rows at once.

    Whole columns are checked first, for values that are surely valid. Only rows with any other
    value go to the server's own predictor, one by one, so that decision and message are the
    server's.
    """

    def __init__(self, contract: Contract) -> None:
        """The rules of a contract."""
        self._columns = contract.features
        self._contract = contract
        none = np.zeros((1, len(contract.output_names)))
        self._predictor = Predictor(contract, lambda _: none, max_rows=1)

    def check(self, rows: pd.DataFrame) -> Checked:
        """Check rows, (n, columns), against the contract.

        Raises:
            UserError: a feature has no column, or more than one.
        """
        self._check_columns(rows)
        sure = np.ones(len(rows), dtype=bool)
        table = {}
        for column in self._columns:
            table[column.name], sure_values = _sure(column, rows[column.name])
            sure &= sure_values
        refused: dict[int, str] = {}
        others = np.flatnonzero(~sure)
        if len(others):
            columns = [_values(rows[column.name].iloc[others]) for column in self._columns]
            for position, values in zip(others.tolist(), zip(*columns, strict=True), strict=True):
                try:
                    inputs = self._predictor.predict(None, [list(values)]).inputs
                except Refusal as refusal:
                    refused[position] = str(refusal).removeprefix("row 0, ")
                else:
                    for name, value in inputs.items():
                        table[name][position] = value[0]
                    sure[position] = True
        positions = np.flatnonzero(sure)
        if len(positions) < len(rows):
            table = {name: values[positions] for name, values in table.items()}
        return Checked(len(rows), positions, table, refused)

    def _check_columns(self, rows: pd.DataFrame) -> None:
        absent = missing_columns(rows, self._contract)
        if absent:
            raise UserError(
                f"no column {', '.join(map(repr, absent))}; the model's features are "
                f"{', '.join(repr(column.name) for column in self._columns)}"
            )
        repeated = {*rows.columns[rows.columns.duplicated()]}
        twice = [column.name for column in self._columns if column.name in repeated]
        if twice:
            raise UserError(f"there is more than one column {', '.join(map(repr, twice))}")


def _sure(column: Column, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """A column as the model takes it, and where its values are surely valid, both (n,)."""
    return (_sure_numbers if column.kind == "number" else _sure_categories)(column, values)


def _sure_numbers(column: Column, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    missing = values.isna().to_numpy()
    if pd.api.types.is_any_real_numeric_dtype(values):  # which booleans are not
        known = ~missing
        numbers = values.to_numpy(dtype=np.float64, na_value=np.nan)
    else:
        known = np.fromiter((type(value) is float for value in values), bool, len(values))
        numbers = np.full(len(values), np.nan)
        numbers[known] = values[known].to_numpy(dtype=np.float64)
    low = -FLOAT32_MAX if column.minimum is None else max(column.minimum, -FLOAT32_MAX)
    high = FLOAT32_MAX if column.maximum is None else min(column.maximum, FLOAT32_MAX)
    if pd.api.types.is_integer_dtype(values):
        low, high = max(low, -EXACT), min(high, EXACT)
    sure = known & (numbers >= low) & (numbers <= high)
    if column.nullable:
        sure |= missing
    with np.errstate(over="ignore"):  # beyond float32 is not sure
        return numbers.astype(np.float32), sure


def _sure_categories(column: Column, values: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    try:
        codes, different = pd.factorize(values)  # a missing value is -1
    except TypeError:  # a value is not hashable
        return np.empty(len(values), dtype=object), np.zeros(len(values), dtype=bool)
    names = different.tolist()
    if column.dtype == "bool":
        names = [str(name).lower() if type(name) is bool else name for name in names]
    allowed = None if column.categories is None else set(column.categories)
    valid = [type(name) is str and is_category(name, allowed) for name in names]
    texts = np.array([*names, served_model.MISSING], dtype=object)
    return texts[codes], np.array([*valid, column.nullable])[codes]


def _values(column: pd.Series) -> list[object]:
    """The values as a JSON request has them: Python's own, None where there is none."""
    values = column.astype(object)
    return [
        None if missing else value.item() if isinstance(value, np.generic) else value
        for value, missing in zip(values, column.isna(), strict=True)
    ]


def _typed(column: Column, text: pd.Series) -> pd.Series:
    known = text.where(~text.isin(NO_VALUE), None)
    if column.dtype == "bool":  # as pandas reads them, with which training read the file
        return known.where(~known.isin(["True", "TRUE", "False", "FALSE"]), known.str.lower())
    if column.kind == "category":
        return known
    try:
        numbers = pa.array(known, pa.string(), from_pandas=True).cast(pa.float64())
    except pa.ArrowInvalid:  # not all of them are numbers
        return pd.Series([_number(value) for value in known], index=text.index, dtype=object)
    return pd.Series(numbers.to_numpy(zero_copy_only=False), index=text.index)


def _number(text: object) -> object:
    if not isinstance(text, str) or "_" in text:  # 1_000 is a number to Python only
        return text
    try:
        return float(text)
    except ValueError:
        return text
