"""A schedule as people write it, as Kubeflow reads it."""

import re
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from modelloop.errors import UserError

# Of each field its name, a schedule with only this field, what is allowed, and what cronsim allows
# beyond that: Kubeflow's robfig/cron 1.2 knows neither L and # nor 7 for Sunday.
FIELDS = (
    ("minute", "{} * * * *", "0 to 59", ""),
    ("hour", "* {} * * *", "0 to 23", ""),
    ("day of the month", "* * {} * *", "1 to 31", "L"),
    ("month", "* * * {} *", "1 to 12 or JAN to DEC", ""),
    ("day of the week", "* * * * {}", "0 to 6 or SUN to SAT", r"[L#]|(?<!/)\b0*7\b"),
)


def with_seconds(cron: str) -> str:
    """Turn the five fields of a crontab into the six of Kubeflow, seconds first.

    Raises:
        UserError: a field holds what it may not; the message names the field.
    """
    given = cron.upper().split()
    if len(given) != len(FIELDS):
        names = ", ".join(name for name, *_ in FIELDS)
        raise UserError(
            f'CRON="{cron}": five fields are needed, such as "0 3 * * 1" ({names}), or "off"'
        )
    for text, (name, alone, allowed, beyond) in zip(given, FIELDS, strict=True):
        if (beyond and re.search(beyond, text)) or not _is_schedule(alone.format(text)):
            raise UserError(
                f'CRON="{cron}": {name} is "{text}"; allowed: {allowed}, *, ranges such as 1-5, '
                "steps such as */2, several by commas"
            )
    if not _is_schedule(" ".join(given)):
        raise UserError(f'CRON="{cron}": day {given[2]} of the month never comes in {given[3]}')
    return " ".join(["0", *given])


def _is_schedule(cron: str) -> bool:
    try:
        CronSim(cron, datetime.now(UTC))
    except CronSimError:
        return False
    return True
