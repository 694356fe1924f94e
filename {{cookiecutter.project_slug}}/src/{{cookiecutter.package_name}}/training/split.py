"""How the rows are split into those that train and those that test. model.py chooses one."""

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
    """By a hash of each row's features and target: for rows that have nothing to do with another.

    A row never changes sides, and equal rows are on one side.
    """
    return Split("content")


def by_time(column: str) -> Split:
    """The newest rows test, and cross-validation goes on in time: for what changes with time.

    Rows of one time are on one side. As newer rows come, older ones move to the training side.

    Args:
        column: a date or a number of SCHEMA, in every row.
    """
    return Split("time", column)


def by_group(column: str) -> Split:
    """By a hash of a group: for rows that belong together, as those of one customer do.

    A group never changes sides, nor is it in two parts of the cross-validation.

    Args:
        column: what names the group in SCHEMA, in every row.
    """
    return Split("group", column)
