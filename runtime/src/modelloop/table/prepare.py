"""From valid rows to the prepared table that models train on, and its split."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from modelloop.contract.served_model import MISSING
from modelloop.table.columns import ColumnRule, DataError
from modelloop.table.split import Split, by_content

LEAST_ROWS = 20  # on each side of the split
# Columns of a prepared table beside features and target, where model.py sets WEIGHT or SPLIT.
WEIGHT, TIME, GROUP = CARRIED = ("__weight__", "__time__", "__group__")
BY_CONTENT = by_content()


@dataclass(frozen=True)
class Rows:
    """Prepared rows on both sides of the split, with the rules of their columns."""

    train: pd.DataFrame
    test: pd.DataFrame
    features: list[ColumnRule]
    target: ColumnRule

    def inputs(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The features of some rows, in the order of the rules.

        Text columns are arrays of objects: scikit-learn would convert other types row by row.
        """
        columns = {rule.name: rows[rule.name] for rule in self.features}
        for rule in self.features:
            if rule.kind == "category":
                columns[rule.name] = pd.Series(array_of(rows[rule.name]), rows.index, dtype=object)
        return pd.DataFrame(columns, copy=False)


def weights(rows: pd.DataFrame) -> np.ndarray | None:
    """The weights of prepared rows; None where they have none."""
    return rows[WEIGHT].to_numpy() if WEIGHT in rows.columns else None


def array_of(values: pd.Series) -> np.ndarray:
    """A prepared column as an array; equal texts are the same object, to save memory."""
    if values.dtype.kind == "f":
        return values.to_numpy()
    codes, names = pd.factorize(values, use_na_sentinel=False)
    return names.to_numpy(dtype=object)[codes]


def prepare(
    valid: pd.DataFrame,
    features: list[ColumnRule],
    target: ColumnRule,
    weight: str | None = None,
    by: Split = BY_CONTENT,
) -> pd.DataFrame:
    """Keep the rows that have a target, with the columns that training needs.

    Args:
        valid: rows with the schema's columns.
        features: their rules.
        target: its rule.
        weight: the column of the rows' weights, if any.
        by: the split, whose column is kept.

    Returns:
        Numbers as float32 with NaN for missing, so that scikit-learn and ONNX get the same values;
        categories as text with "missing" for missing; a numeric target as float64. Where the
        split is by time, rows are sorted from old to new.

    Raises:
        DataError: no row has a target, a category is called "missing", a weight is not positive
            and finite, or the split's column has missing values or a wrong type.
    """
    known = valid[[*needed(features, target, weight, by)]]
    del valid  # `known` is a copy
    has_target = known[target.name].notna()
    if not has_target.all():
        known = known[has_target]
    if known.empty:
        raise DataError(f"column {target.name}: no row has a value, so there is nothing to learn")
    if by.column:
        _check_key(known[by.column], by)
    if by.kind == "time":
        known = known.sort_values(by.column, kind="stable")
    known = known.reset_index(drop=True)
    prepared = {rule.name: _feature(known[rule.name], rule) for rule in features}
    prepared[target.name] = _target(known[target.name], target)
    if weight:
        prepared[WEIGHT] = _weights(known[weight])
    if by.kind == "time":
        prepared[TIME] = known[by.column]
    if by.kind == "group":
        prepared[GROUP] = known[by.column].astype("str")
    return pd.DataFrame(prepared)


def needed(
    features: list[ColumnRule], target: ColumnRule, weight: str | None, by: Split
) -> dict[str, str]:
    """The columns that `prepare` reads, each with the name in model.py that refers to it.

    Raises:
        DataError: two names of model.py contradict each other.
    """
    named = {rule.name: "FEATURES" for rule in features} | {target.name: "TARGET"}
    if taken := [name for name in CARRIED if name in named]:
        raise DataError(f"column {taken[0]}: the name is reserved; call it something else in load")
    if weight in named:
        raise DataError(f"model.py: {weight} is the WEIGHT, so it cannot be in {named[weight]}")
    if by.column == target.name:
        raise DataError(f"model.py: SPLIT is {by}, but that is the TARGET")
    more = {weight: "WEIGHT", by.column: "SPLIT"}
    return {name: of for name, of in (more | named).items() if name}


def split(
    table: pd.DataFrame,
    test_share: float,
    by: Split = BY_CONTENT,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split a prepared table into training and test rows.

    By content and by group, a row stays on its side when the table grows or changes its order, so
    a champion is never tested on rows that it was trained on. By time, the test rows are newer than
    all training rows of an earlier champion, as long as the rows that are added are newer.

    Raises:
        DataError: a side would have fewer than 20 rows.
    """
    test = _test_rows(table, test_share, by)
    if min(test.sum(), (~test).sum()) < LEAST_ROWS:
        how = "" if by.kind == "content" else f" {by}"
        raise DataError(
            f"{len(table)} rows with a target are too few: the split{how} at {test_share:g} leaves "
            f"{(~test).sum()} to train and {test.sum()} to test, at least {LEAST_ROWS} each needed"
        )
    return table[~test].reset_index(drop=True), table[test].reset_index(drop=True)


def fingerprint(*tables: pd.DataFrame) -> str:
    """SHA-256 of the column names and rows of tables, as if they were one table, hexadecimal."""
    digest = hashlib.sha256("\0".join(map(str, tables[0].columns)).encode())
    for table in tables:
        digest.update(pd.util.hash_pandas_object(table, index=False).to_numpy().tobytes())
    return digest.hexdigest()


def _feature(values: pd.Series, rule: ColumnRule) -> pd.Series:
    if rule.kind == "number":
        return values.astype("float64").astype("float32")
    if rule.dtype != "bool" and (values == MISSING).any():
        raise DataError(f"column {rule.name}: the category {MISSING!r} is reserved")
    return _text(values, rule).fillna(MISSING)


def _target(values: pd.Series, rule: ColumnRule) -> pd.Series:
    return values.astype("float64") if rule.kind == "number" else _text(values, rule)


def _text(values: pd.Series, rule: ColumnRule) -> pd.Series:
    text = values.astype("str")
    return text.str.lower() if rule.dtype == "bool" else text  # true and false, as in JSON


def _weights(values: pd.Series) -> pd.Series:
    if pd.api.types.is_any_real_numeric_dtype(values):
        found = values.astype("float64")
        wrong = values[~(np.isfinite(found) & (found > 0))]
    else:
        wrong = values
    if len(wrong):
        raise DataError(
            f"column {values.name}: WEIGHT in model.py needs positive, finite numbers, but "
            f"{len(wrong)} rows have others, such as {wrong.iloc[0]!r}"
        )
    return found


def _check_key(values: pd.Series, by: Split) -> None:
    """Raise a DataError unless every row has a value that the split can go by."""
    missing = int(values.isna().sum())
    if missing:
        raise DataError(f"column {by.column}: SPLIT is {by}, but {missing} rows have no value")
    orders = pd.api.types.is_any_real_numeric_dtype(values)
    if by.kind == "time" and not (orders or pd.api.types.is_datetime64_any_dtype(values)):
        raise DataError(
            f"column {by.column}: SPLIT is {by}, which needs a date or a number, not "
            f'{values.dtype}; pa.Column("datetime64[ns]") in data.py makes a date of text'
        )


def _test_rows(table: pd.DataFrame, test_share: float, by: Split) -> np.ndarray:
    if by.kind == "time":
        newest = table[TIME].sort_values(ignore_index=True)
        first = min(round(len(table) * (1 - test_share)), len(table) - 1)
        return (table[TIME] >= newest[first]).to_numpy()
    if by.kind == "group":
        hashed = table[[GROUP]]
    else:
        hashed = table.drop(columns=[name for name in CARRIED if name in table.columns])
    places = pd.util.hash_pandas_object(hashed, index=False).to_numpy() / np.float64(2**64)
    return places < test_share
