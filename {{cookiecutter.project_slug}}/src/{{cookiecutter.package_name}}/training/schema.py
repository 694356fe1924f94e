"""Hold the raw table against the data schema, and read the schema for everyone else."""

from dataclasses import dataclass
from typing import Literal

import pandas as pd
import pandera.pandas as pa

from ..errors import UserError

SHOWN = 5  # example rows per broken rule


class DataError(UserError):
    """Rows break the schema, or the schema and the model do not fit each other."""


@dataclass(frozen=True)
class ColumnRule:
    """What data.py says of one column."""

    name: str
    kind: Literal["number", "category"]
    dtype: str
    nullable: bool
    description: str
    unit: str
    minimum: float | None
    maximum: float | None
    categories: list[str] | None


def validate(raw: pd.DataFrame, schema: pa.DataFrameSchema) -> pd.DataFrame:
    """Return the table with the schema's columns and types.

    Raises:
        DataError: every broken rule, with its column, the number of rows and example rows.
    """
    try:
        return schema.validate(raw, lazy=True)
    except pa.errors.SchemaErrors as error:
        raise DataError(_explain(error.failure_cases, raw)) from error


def column_rules(schema: pa.DataFrameSchema, names: list[str]) -> list[ColumnRule]:
    """The rules of some columns, in the order of `names`.

    Raises:
        DataError: a name is not in the schema, or its type is neither text nor number.
    """
    unknown = [name for name in names if name not in schema.columns]
    if unknown:
        raise DataError(f"model.py names {unknown}, but SCHEMA in data.py has {[*schema.columns]}")
    return [_rule(name, schema.columns[name]) for name in names]


def _rule(name: str, column: pa.Column) -> ColumnRule:
    dtype = str(column.dtype)
    if dtype.startswith(("float", "int", "uint", "Float", "Int", "UInt")):
        kind = "number"
    elif dtype in ("str", "string", "object") or dtype.startswith("string["):
        kind = "category"
    else:
        raise DataError(f"data.py: column {name} has dtype {dtype}; use str, int or float")
    limits = {"minimum": None, "maximum": None, "categories": None}
    for check in column.checks:
        facts = check.statistics or {}
        if "allowed_values" in facts:
            limits["categories"] = [str(v) for v in facts["allowed_values"]]
        if facts.get("min_value") is not None:
            limits["minimum"] = float(facts["min_value"])
        if facts.get("max_value") is not None:
            limits["maximum"] = float(facts["max_value"])
    return ColumnRule(
        name=name,
        kind=kind,
        dtype=dtype,
        nullable=bool(column.nullable),
        description=column.description or "",
        unit=str((column.metadata or {}).get("unit", "")),
        **limits,
    )


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
