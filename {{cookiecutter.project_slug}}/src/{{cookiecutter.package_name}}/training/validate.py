"""Hold the raw table against the data schema."""

import pandas as pd
import pandera.pandas as pa

from ..columns import DataError

SHOWN = 5  # example rows per broken rule


def validate(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the table with the schema's columns and types.

    Raises:
        DataError: every broken rule, with its column, the number of rows and example rows.
    """
    try:
        return schema.validate(raw, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise DataError(_explain(error.failure_cases, raw)) from error


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
    return "the data breaks the schema in data.py\n" + "\n".join(lines)
