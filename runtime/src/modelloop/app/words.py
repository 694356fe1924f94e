"""The texts of the demo. No Streamlit here."""

import re

import numpy as np

from modelloop.contract.contract import Column, Contract
from modelloop.serving.client import ServerError


def plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return re.sub(r"([\\`*_{}\[\]<>#$~|!:])", r"\\\1", text)


def number(value: float, unit: str = "", digits: int = 4) -> str:
    """A number with `digits` significant digits, or all digits of a large one."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"
    return f"{text} {unit}".rstrip()


def label(column: Column) -> str:
    """The label of a field."""
    unit = f" ({column.unit})" if column.unit else ""
    return f"{column.description or column.name}{unit}"


def hint(column: Column) -> str:
    """The allowed range of a field, and the median."""
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


def position(column: Column, value: float | str | None) -> str:
    """The position of a value among the training rows."""
    if value is None:
        return f"missing, as in {column.missing:.0%} of the training rows"
    if isinstance(value, str):
        shares = dict(zip(column.reference.bins, column.reference.shares, strict=True))
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
    """The model's error on rows it had not seen; empty where the contract has no such metric."""
    unit, metrics = contract.target.unit, contract.metrics
    if "mae" in metrics:
        return f"usually off by {number(metrics['mae'], unit, 3)} (mean error on the test rows)"
    if "rmse" in metrics:
        return f"usually off by {number(metrics['rmse'], unit, 3)} (RMSE on the test rows)"
    if "accuracy" in metrics:
        return f"right in {metrics['accuracy']:.0%} of the test rows"
    return ""


def explain(error: ServerError) -> str:
    """An error of the server, and what to do."""
    text = str(error)
    if error.status >= 500:
        return f"The model server failed ({error.status}). Its log says why. {error.info or text}"
    if error.status:
        return f"The model server refused the request. {error.info or text}"
    detail = text.partition("; is `make serve`")[0]  # the texts below are longer
    if "timed out" in text:
        return f"The model server is too slow to answer. Try again in a moment. ({detail})"
    if text.startswith("no answer"):
        return (
            "The model server cannot be reached. Start one (make serve), or start the demo with "
            f"MODEL_URL as the address of one. ({detail})"
        )
    return text


def of_field(reason: str, contract: Contract) -> tuple[str, str] | None:
    """The feature that a refusal names and the rest of the message; None where it names none."""
    for name in sorted((column.name for column in contract.features), key=len, reverse=True):
        if reason.startswith(f"{name}: "):
            return name, reason.removeprefix(f"{name}: ")
    return None


def _below(column: Column, value: float) -> float:
    """The approximate share of the known training values below a value."""
    low, high = column.observed or (value, value)
    edges = [low, *(column.reference.edges or []), high]
    below = np.cumsum([0.0, *column.reference.shares[: len(edges) - 1]])
    return float(np.interp(value, edges, below) / below[-1])
