"""Check the raw table against the schema."""

import pandas as pd
import pandera.pandas as pa

from modelloop.table.columns import BOOLEANS, DataError

SHOWN = 5  # example rows per broken rule
BROKEN = "the data breaks the schema in data.py"


def validate(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the table with the schema's columns and types.

    Raises:
        DataError: rules are broken; the message has each with its column, the number of rows and
            examples.
    """
    lost = _lost(raw, schema)
    try:
        valid = schema.validate(raw, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise DataError("\n".join([_explain(error.failure_cases, raw), *lost])) from error
    if lost:
        raise DataError("\n".join([BROKEN, *lost]))
    return valid


def check_duplicates(valid: pd.DataFrame, allowed: float) -> None:
    """Refuse a table with too many duplicates.

    Args:
        valid: rows with the schema's columns.
        allowed: the largest share of rows that repeat an earlier one.

    Raises:
        DataError: there are more; the message shows some of them.
    """
    again = pd.util.hash_pandas_object(valid, index=False).duplicated().to_numpy()
    if again.mean() > allowed:
        raise DataError(
            f"{again.sum()} of {len(valid)} rows ({again.mean():.1%}) repeat an earlier one, "
            f"DUPLICATES in data.py allows {allowed:.1%}; does a join multiply them? For example\n"
            + valid[again].head(SHOWN).to_string(max_colwidth=30, line_width=100)
        )


def _lost(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> list[str]:
    """A line for each column whose values coercion would change: 1.5 to 1, "no" to True."""
    lines = []
    for name, column in schema.columns.items():
        dtype = str(column.dtype)
        if name not in raw.columns or str(raw[name].dtype) == dtype:
            continue
        values = raw[name]
        if dtype in BOOLEANS:
            fits = values.isin([True, False])
            if dtype == "boolean":
                fits |= values.isna()
            wanted = "true, false, 1 or 0" + (", or missing" if dtype == "boolean" else "")
        elif dtype.lower().startswith(("int", "uint")) and pd.api.types.is_float_dtype(values):
            fits = values.isna() | (values % 1 == 0)
            wanted = "a whole number"
        else:
            continue
        wrong = values[~fits.to_numpy(dtype=bool)]
        if len(wrong):
            lines.append(
                f"column {name}: is {dtype} in data.py, {len(wrong)} rows are not {wanted}, for "
                f"example {wrong.head(SHOWN).tolist()}: mend them in `load`"
            )
    return lines


def _explain(failures: pd.DataFrame, raw: pd.DataFrame) -> str:
    """One paragraph per broken rule."""
    lines = []
    failures = failures.assign(column=failures["column"].fillna("table"))
    wrong_type = failures["check"].astype(str).str.startswith("coerce_dtype")
    failures = failures[wrong_type | ~failures["column"].isin(failures["column"][wrong_type])]
    for (column, rule), group in failures.groupby(["column", "check"], sort=False):
        if rule == "column_in_dataframe":
            missing = ", ".join(map(str, group["failure_case"]))
            lines.append(f"column {missing}: not in the table, which has {list(raw.columns)}")
            continue
        rows = group["index"].dropna()
        lines.append(f"column {column}: breaks {rule}, {len(rows) or 'all'} rows")
        examples = [i for i in dict.fromkeys(rows) if i in raw.index][:SHOWN]
        if examples:
            lines.append(raw.loc[examples].to_string(max_colwidth=30, line_width=100))
        else:
            lines.append(f"  for example {group['failure_case'].head(SHOWN).tolist()}")
    return "\n".join([BROKEN, *lines])
