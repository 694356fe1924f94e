"""The rules of columns: what SCHEMA in data.py says of them, in the form that training uses."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import pandera.pandas as pa

from modelloop.errors import UserError
from modelloop.project import ProblemType

BOOLEANS = ("bool", "boolean")


class DataError(UserError):
    """Rows break the schema, or schema and model contradict each other."""


@dataclass(frozen=True)
class ColumnRule:
    """What SCHEMA says of one column."""

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
        DataError: a name is not in the schema, or no model takes its type.
    """
    check_names(schema, names)
    return [_rule(name, schema.columns[name]) for name in names]


def check_names(schema: pa.DataFrameSchema, names: Iterable[str]) -> None:
    """Check that the schema has the columns that model.py names.

    Raises:
        DataError: it does not have one of them.
    """
    unknown = [name for name in names if name not in schema.columns]
    if unknown:
        raise DataError(f"model.py names {unknown}, but SCHEMA in data.py has {[*schema.columns]}")


def target_rule(schema: pa.DataFrameSchema, name: str, problem_type: ProblemType) -> ColumnRule:
    """The rule of the target. Classes are text: whole numbers and booleans are converted.

    Raises:
        DataError: the column is not in the schema, or its type cannot be a target of this problem.
    """
    (rule,) = column_rules(schema, [name])
    if problem_type == "regression":
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
    kind = _kind(name, column)
    minimum = maximum = None
    categories = ["false", "true"] if dtype in BOOLEANS else None
    for check in column.checks:
        facts = check.statistics or {}
        if "allowed_values" in facts and dtype not in BOOLEANS:
            categories = [str(v) for v in facts["allowed_values"]]
        if facts.get("min_value") is not None:
            minimum = float(facts["min_value"])
        if facts.get("max_value") is not None:
            maximum = float(facts["max_value"])
    return ColumnRule(
        name=name,
        kind=kind,
        dtype="bool" if dtype in BOOLEANS else "str" if kind == "category" else dtype,
        nullable=bool(column.nullable),
        description=column.description or "",
        unit=str((column.metadata or {}).get("unit", "")),
        minimum=minimum,
        maximum=maximum,
        categories=categories,
    )


def _kind(name: str, column: pa.Column) -> Literal["number", "category"]:
    dtype = str(column.dtype)
    if dtype.startswith(("float", "int", "uint", "Float", "Int", "UInt")):
        return "number"
    if dtype == "bool" and column.nullable:
        raise DataError(
            f'data.py: column {name} is nullable, which dtype bool cannot be; use "boolean"'
        )
    if dtype in (*BOOLEANS, "str", "string", "object") or dtype.startswith("string["):
        return "category"
    if dtype.startswith("datetime"):
        raise DataError(
            f"data.py: column {name} is a date, and a date as such only grows: derive what counts "
            f"in `load`, such as the month or the days since another date, and name that in SCHEMA "
            f"and FEATURES. SPLIT in model.py may be by_time({name!r})"
        )
    raise DataError(f"data.py: column {name} has dtype {dtype}; use str, int, float or bool")
