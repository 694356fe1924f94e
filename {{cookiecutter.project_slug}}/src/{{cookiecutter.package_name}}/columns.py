"""What data.py says of each column, for everyone who needs to know."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import pandera.pandas as pa

from . import project
from .errors import UserError

BOOLEANS = ("bool", "boolean")


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
        DataError: a name is not in the schema, or its type is none that a model takes.
    """
    check_names(schema, names)
    return [_rule(name, schema.columns[name]) for name in names]


def check_names(schema: pa.DataFrameSchema, names: Iterable[str]) -> None:
    """Hold names of model.py against the schema.

    Raises:
        DataError: a name is not in it.
    """
    unknown = [name for name in names if name not in schema.columns]
    if unknown:
        raise DataError(f"model.py names {unknown}, but SCHEMA in data.py has {[*schema.columns]}")


def target_rule(schema: pa.DataFrameSchema, name: str) -> ColumnRule:
    """The rule of the target. Classes are text, so whole numbers and booleans are named by it.

    Raises:
        DataError: the column is not in the schema, or not of a type that can be the target.
    """
    (rule,) = column_rules(schema, [name])
    if project.PROBLEM_TYPE == "regression":
        if rule.kind != "number":
            raise DataError(f"data.py: target {name} has dtype {rule.dtype}; use int or float")
        return rule
    if rule.dtype.lower().startswith("float"):
        raise DataError(
            f"data.py: target {name} has dtype {rule.dtype}; classes are str, int or bool"
        )
    return replace(rule, kind="category", minimum=None, maximum=None)


def _rule(name: str, column: pa.Column) -> ColumnRule:
    dtype = str(column.dtype)
    if dtype.startswith(("float", "int", "uint", "Float", "Int", "UInt")):
        kind = "number"
    elif dtype in BOOLEANS:
        kind = "category"
        if column.nullable and dtype == "bool":
            raise DataError(
                f'data.py: column {name} is nullable, which dtype bool cannot be; use "boolean"'
            )
    elif dtype in ("str", "string", "object") or dtype.startswith("string["):
        kind = "category"
    elif dtype.startswith("datetime"):
        raise DataError(
            f"data.py: column {name} is a date, and a date as such only grows: derive what counts "
            f"in `load`, such as the month or the days since another date, and name that in SCHEMA "
            f"and FEATURES. SPLIT in model.py may be by_time({name!r})"
        )
    else:
        raise DataError(f"data.py: column {name} has dtype {dtype}; use str, int, float or bool")
    limits = {"minimum": None, "maximum": None, "categories": None}
    if dtype in BOOLEANS:
        limits["categories"] = ["false", "true"]
    for check in column.checks:
        facts = check.statistics or {}
        if "allowed_values" in facts and dtype not in BOOLEANS:
            limits["categories"] = [str(v) for v in facts["allowed_values"]]
        if facts.get("min_value") is not None:
            limits["minimum"] = float(facts["min_value"])
        if facts.get("max_value") is not None:
            limits["maximum"] = float(facts["max_value"])
    return ColumnRule(
        name=name,
        kind=kind,
        dtype="bool" if dtype in BOOLEANS else "str" if kind == "category" else dtype,
        nullable=bool(column.nullable),
        description=column.description or "",
        unit=str((column.metadata or {}).get("unit", "")),
        **limits,
    )
