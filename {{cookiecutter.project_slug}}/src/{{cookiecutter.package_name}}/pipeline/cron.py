"""A schedule as people write it, as Kubeflow reads it."""

import re

from ..errors import UserError

MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
# Name, smallest and largest value, names of the values from the smallest on.
FIELDS = (
    ("minute", 0, 59, []),
    ("hour", 0, 23, []),
    ("day of the month", 1, 31, []),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 6, DAYS),
)


def with_seconds(cron: str) -> str:
    """Turn the five fields of a crontab into the six of Kubeflow, seconds first.

    Raises:
        UserError: a field holds what it may not.
    """
    given = cron.upper().split()
    if len(given) != len(FIELDS):
        names = ", ".join(name for name, *_ in FIELDS)
        raise UserError(
            f'CRON="{cron}": five fields are needed, such as "0 3 * * 1" ({names}), or "off"'
        )
    for text, (name, low, high, names) in zip(given, FIELDS, strict=True):
        if not all(_is_part(part, low, high, names) for part in text.split(",")):
            spelt = f" or {names[0]} to {names[-1]}" if names else ""
            raise UserError(
                f'CRON="{cron}": {name} is "{text}"; allowed: {low} to {high}{spelt}, *, ranges '
                "such as 1-5, steps such as */2, several by commas"
            )
    return " ".join(["0", *given])


def _is_part(part: str, low: int, high: int, names: list[str]) -> bool:
    """Whether one part of a field, such as MON-FRI or */2, is within its limits."""
    span, has_step, step = part.partition("/")
    if has_step and not re.fullmatch("0*[1-9][0-9]*", step):
        return False
    if span == "*":
        return True
    ends = [_number(end, low, names) for end in span.split("-")]
    return len(ends) <= 2 and low <= ends[0] <= ends[-1] <= high


def _number(text: str, low: int, names: list[str]) -> int:
    if text in names:
        return low + names.index(text)
    return int(text) if re.fullmatch("[0-9]+", text) else -1
