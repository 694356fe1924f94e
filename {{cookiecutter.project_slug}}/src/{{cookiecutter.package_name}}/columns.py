"""What data.py says of each column, for everyone who needs to know."""

from dataclasses import dataclass
from typing import Literal

import pandera.pandas as pa

from .errors import UserError


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
        dtype="str" if kind == "category" else dtype,
        nullable=bool(column.nullable),
        description=column.description or "",
        unit=str((column.metadata or {}).get("unit", "")),
        **limits,
    )
