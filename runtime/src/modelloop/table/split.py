"""How rows are split into training and test rows. model.py chooses one way."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Split:
    """A way to split; see by_content, by_time and by_group."""

    kind: Literal["content", "time", "group"]
    column: str = ""

    def __str__(self) -> str:
        return f"by_{self.kind}({self.column})"


def by_content() -> Split:
    """By a hash of each row's features and target: for independent rows.

    A row never changes sides, and equal rows are on the same side.
    """
    return Split("content")


def by_time(column: str) -> Split:
    """The newest rows test, and cross-validation is in time order: for data that change with time.

    Rows of the same time are on the same side. As newer rows arrive, older ones become training
    rows.

    Args:
        column: a date or a number in SCHEMA, without missing values.
    """
    return Split("time", column)


def by_group(column: str) -> Split:
    """By a hash of a group: for rows that belong together, such as those of one customer.

    A group never changes sides, and is in one fold of the cross-validation.

    Args:
        column: the column of SCHEMA that names the group, in every row.
    """
    return Split("group", column)
