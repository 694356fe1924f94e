"""What the demo says, in words for people. No Streamlit here."""

import re

import numpy as np

from {{ cookiecutter.package_name }}.client import ServerError
from {{ cookiecutter.package_name }}.contract import Column, Contract


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|!:])", r"\\\1", text)


def number(value: float, unit: str = "", digits: int = 4) -> str:
    """A number as people write it: so many digits that count, or all of a large one."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return f"{text} {unit}".rstrip()


def label(column: Column) -> str:
    """What a field is called."""
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.description or column.name}{unit}"


def hint(column: Column) -> str:
    """What a field may hold, and what is usual."""
    low, high, unit = column.minimum, column.maximum, column.unit
    parts = []
    if low is not None and high is not None:
        parts.append(f"{number(low)} to {number(high, unit)}")
    elif low is not None:
        parts.append(f"from {number(low, unit)}")
    elif high is not None:
        parts.append(f"up to {number(high, unit)}")
    if column.median is not None:
        parts.append(f"median {number(column.median)}")
    return ", ".join(parts)


def place(column: Column, value: float | str | None) -> str:
    """Where a value lies among the training rows."""
    if value is None:
        return f"missing, as in {column.missing:.0%} of the training rows"
    shares = dict(zip(column.reference.bins, column.reference.shares, strict=True))
    if column.kind == "category":
        known = column.reference.categories or []
        share = column.reference.shares[known.index(value)] if value in known else shares["other"]
        return f"{value}: as in {share:.0%} of the training rows"
    shown = number(value, column.unit)
    low, high = column.observed or (value, value)
    if not low <= value <= high:
        side = "below" if value < low else "above"
        return f"{shown}: {side} every training row, so the answer is an extrapolation"
    return f"{shown}: above about {_below(column, value):.0%} of the training rows"


def usual_error(contract: Contract) -> str:
    """How far the model was off on rows it had not seen; empty where the contract does not say."""
    unit, metrics = contract.target.unit, contract.metrics
    if "mae" in metrics:
        return f"usually off by {number(metrics['mae'], unit, 3)} (mean error on the test rows)"
    if "rmse" in metrics:
        return f"usually off by {number(metrics['rmse'], unit, 3)} (RMSE on the test rows)"
    if "accuracy" in metrics:
        return f"right in {metrics['accuracy']:.0%} of the test rows"
    return ""


def explain(error: ServerError) -> str:
    """What happened to the server, and what to do."""
    text = str(error)
    if error.status >= 500:
        return f"The model server failed ({error.status}). Its log says why. {error.info or text}"
    if error.status:
        return f"The model server refused the request. {error.info or text}"
    detail = text.partition("; is `make serve`")[0]  # which is said in better words here
    if "timed out" in text:
        return f"The model server is too slow to answer. Try again in a moment. ({detail})"
    if text.startswith("no answer"):
        return (
            "The model server cannot be reached. Start one (make serve), or start the demo with "
            f"MODEL_URL as the address of one. ({detail})"
        )
    return text


def of_field(reason: str, contract: Contract) -> tuple[str, str] | None:
    """The feature that a refusal is about and the rest of the message, where it is about one."""
    for name in sorted((column.name for column in contract.features), key=len, reverse=True):
        if reason.startswith(f"{name}: "):
            return name, reason.removeprefix(f"{name}: ")
    return None


def _below(column: Column, value: float) -> float:
    """About which share of the known training values is below a value."""
    low, high = column.observed or (value, value)
    edges = [low, *(column.reference.edges or []), high]
    below = np.cumsum([0.0, *column.reference.shares[: len(edges) - 1]])
    return float(np.interp(value, edges, below) / below[-1])
