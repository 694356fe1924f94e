"""The gate: may this candidate be registered? Comparisons with a reason for each."""

import math
from dataclasses import dataclass, field

from pydantic import BaseModel

from modelloop.contract.contract import Check, Decision


@dataclass(frozen=True)
class Gate:
    """The gate's limits; model.py sets them.

    Args:
        metric: the metric that decides, one of HIGHER_IS_BETTER of `training/classification.py`
            or `training/regression.py`. Where lower is better, a floor is the largest value
            that passes.
        floor: worst score on all test rows.
        margin: how much worse than the champion's score on the same rows is still accepted.
        slices: columns whose groups are scored one by one.
        slice_floor: worst score of a group.
        latency_ms: longest median time to predict one row, milliseconds.
        slice_rows: groups with fewer test rows are not judged.
    """

    metric: str
    floor: float
    margin: float
    slices: list[str] = field(default_factory=list)
    slice_floor: float = -math.inf
    latency_ms: float = math.inf
    slice_rows: int = 10


class Evaluation(BaseModel, frozen=True):
    """The measurements on the test rows; scores are in the unit of the gate's metric."""

    higher_is_better: bool
    score: float
    champion: float | None  # None: no champion, or it cannot be compared
    champion_note: str  # which version it is, or why there is no score
    slices: dict[str, float]  # "column=group" -> score
    latency_ms: float


def decide(measured: Evaluation, gate: Gate) -> Decision:
    """Decide on a candidate: it passes if every check does; a score that is NaN fails."""
    checks = [
        _compare("floor", measured.score, gate.floor, measured, f"{gate.metric} on the test rows"),
        _champion(measured, gate),
        *(
            _compare(f"slice {name}", score, gate.slice_floor, measured, f"{gate.metric} of {name}")
            for name, score in sorted(measured.slices.items())
        ),
        _check(
            "latency",
            measured.latency_ms,
            gate.latency_ms,
            measured.latency_ms <= gate.latency_ms,
            "ms for one row, median",
            "at most",
        ),
    ]
    return Decision(passed=all(c.passed for c in checks), checks=checks)


def _champion(measured: Evaluation, gate: Gate) -> Check:
    if measured.champion is None:
        return Check(
            name="champion", value=measured.score, limit=None, passed=True,
            detail=f"{measured.champion_note}: the floors alone decide",
        )  # fmt: skip
    loss = -gate.margin if measured.higher_is_better else gate.margin
    return _compare(
        "champion",
        measured.score,
        measured.champion + loss,
        measured,
        f"{gate.metric}; {measured.champion_note} has {measured.champion:.4g} on the same rows, "
        f"margin {gate.margin:g}",
    )


def _compare(name: str, value: float, limit: float, measured: Evaluation, what: str) -> Check:
    higher = measured.higher_is_better
    passed = value >= limit if higher else value <= limit
    return _check(name, value, limit, passed, what, "at least" if higher else "at most")


def _check(name: str, value: float, limit: float, passed: bool, what: str, word: str) -> Check:
    return Check(
        name=name,
        value=value if math.isfinite(value) else None,
        limit=limit if math.isfinite(limit) else None,
        passed=bool(passed),
        detail=f"{value:.4g} {what}, {word} {limit:.4g} is demanded",
    )
