"""From valid rows to the prepared table that models see, and its split."""

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..columns import ColumnRule, DataError
from ..served_model import MISSING

LEAST_ROWS = 20  # on each side of the split


@dataclass(frozen=True)
class Rows:
    """Prepared rows on both sides of the split, with the rules of their columns."""

    train: pd.DataFrame
    test: pd.DataFrame
    features: list[ColumnRule]
    target: ColumnRule

    def inputs(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The features of some rows, in the order of the rules."""
        return rows[[rule.name for rule in self.features]]


def prepare(valid: pd.DataFrame, features: list[ColumnRule], target: ColumnRule) -> pd.DataFrame:
    """Keep the rows with a target; features and target only.

    Returns:
        Numbers as float32 with NaN for missing, so that scikit-learn and ONNX see the same values;
        categories as text with "missing" for missing; a numeric target as float64.

    Raises:
        DataError: no row has a target, or a category is called "missing".
    """
    known = valid[valid[target.name].notna()]
    if known.empty:
        raise DataError(f"column {target.name}: no row has a value, so there is nothing to learn")
    prepared = pd.DataFrame(index=pd.RangeIndex(len(known)))
    for rule in features:
        values = known[rule.name].reset_index(drop=True)
        if rule.kind == "number":
            prepared[rule.name] = values.astype("float64").astype("float32")
            continue
        if (values == MISSING).any():
            raise DataError(f"column {rule.name}: the category {MISSING!r} is reserved")
        prepared[rule.name] = values.astype("object").where(values.notna(), MISSING).astype("str")
    kind = "float64" if target.kind == "number" else "str"
    prepared[target.name] = known[target.name].reset_index(drop=True).astype(kind)
    return prepared


def split(table: pd.DataFrame, test_share: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Split by a hash of each row's content.

    A row stays on its side when the table grows or changes its order, so a champion is never judged
    on rows it was trained on, and equal rows are never on both sides.

    Raises:
        DataError: a side would have fewer than 20 rows.
    """
    places = pd.util.hash_pandas_object(table, index=False).to_numpy() / np.float64(2**64)
    test = places < test_share
    if min(test.sum(), (~test).sum()) < LEAST_ROWS:
        raise DataError(
            f"{len(table)} rows with a target are too few: the split at {test_share:g} leaves "
            f"{(~test).sum()} to train and {test.sum()} to test, at least {LEAST_ROWS} each needed"
        )
    return table[~test].reset_index(drop=True), table[test].reset_index(drop=True)


def fingerprint(table: pd.DataFrame) -> str:
    """SHA-256 of a table's column names and rows, hexadecimal; the order of rows counts."""
    rows = pd.util.hash_pandas_object(table, index=False).to_numpy()
    return hashlib.sha256("\0".join(map(str, table.columns)).encode() + rows.tobytes()).hexdigest()
