"""The error that a person can act on, and the text of errors that pydantic finds."""

from pydantic import ValidationError


class UserError(Exception):
    """Something that the user, the data or the environment must change.

    The message says what was wrong and what is allowed; commands print it without a traceback.
    """


def explain(error: ValidationError, *, upper: bool = False, values: bool = False) -> str:
    """Every fault that pydantic found, as `field: what is wrong`, joined by semicolons.

    Args:
        error: what pydantic raised.
        upper: write fields in upper case, as environment variables are.
        values: show the value that was given, too; never of fields that may hold a secret.
    """
    faults = []
    for fault in error.errors():
        field = ".".join(map(str, fault["loc"]))
        field = field.upper() if upper else field
        given = f"={fault['input']!r}" if values else ""
        faults.append(f"{field}{given}: {fault['msg']}" if field else fault["msg"])
    return "; ".join(faults)
