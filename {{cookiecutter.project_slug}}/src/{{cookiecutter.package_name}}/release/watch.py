"""Watch a canary beside the champion, and judge it.

Too little traffic is an outcome of its own: it says nothing, so it passes nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from ..contract import Check, Decision
from .plan import Plan

LOOKS = 20  # in the time of one step
QUICK_SECONDS = 0.05  # nobody feels a difference between answers within it


class Outcome(StrEnum):
    """What a step came to."""

    HELD = "held"
    FAILED = "failed"
    UNSEEN = "too little traffic"


@dataclass(frozen=True)
class Measured:
    """How a version did over some seconds.

    Attributes:
        requests: how many there were.
        errors: how many of them failed with a server error.
        latency: 95 % of the answers came within so many seconds; None without a request.
        drift: population stability index of its predictions against its own training; None where
            it is not measured.
    """

    requests: float
    errors: float
    latency: float | None
    drift: float | None

    @property
    def error_share(self) -> float:
        """Share of the requests that failed, 0 to 1."""
        return self.errors / self.requests if self.requests else 0.0


@dataclass(frozen=True)
class Seen:
    """What came out of a step, and why."""

    outcome: Outcome
    decision: Decision


def watch(
    measure: Callable[[str, float], Measured],
    plan: Plan,
    candidate: str,
    champion: str,
    say: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Seen:
    """Look at both versions for the time of one step; a candidate that does badly ends it at once.

    Args:
        measure: how a version did in the last seconds.
        plan: what is allowed.
        candidate: its version.
        champion: the version that it is held against.
        say: told what was seen.
        clock: seconds that go on.
        pause: waits for seconds.

    Raises:
        UserError: it cannot be measured.
    """
    seconds = plan.step_minutes * 60
    start = clock()
    elapsed = 0.0
    while True:
        pause(min(seconds / LOOKS, seconds - elapsed))
        elapsed = clock() - start
        # The champion's step before counts, too: in the last step nobody asks it any more.
        seen = judge(plan, measure(candidate, elapsed), measure(champion, elapsed + seconds))
        if elapsed >= seconds or seen.outcome is Outcome.FAILED:
            say(seen.decision.table().rpartition("\n")[0])
            say(f"version {candidate}: {seen.outcome}")
            return seen


def judge(plan: Plan, candidate: Measured, champion: Measured) -> Seen:
    """Hold a candidate against the champion, and against what is allowed."""
    checks = [
        _traffic(plan, candidate),
        _errors(plan, candidate, champion),
        _latency(plan, candidate.latency, champion.latency),
        _drift(plan, candidate.drift, champion.drift),
    ]
    decision = Decision(passed=all(check.passed for check in checks), checks=checks)
    if decision.passed:
        return Seen(Outcome.HELD, decision)
    return Seen(Outcome.FAILED if checks[0].passed else Outcome.UNSEEN, decision)


def _traffic(plan: Plan, candidate: Measured) -> Check:
    return Check(
        name="traffic",
        value=candidate.requests,
        limit=plan.min_requests,
        passed=candidate.requests >= plan.min_requests,
        detail=f"{candidate.requests:.0f} requests, at least {plan.min_requests} are needed",
    )


def _errors(plan: Plan, candidate: Measured, champion: Measured) -> Check:
    limit = champion.error_share + plan.max_error_share
    return Check(
        name="errors",
        value=candidate.error_share,
        limit=limit,
        passed=candidate.error_share <= limit,
        detail=f"{candidate.error_share:.2%} of the requests failed, at most {limit:.2%} may",
    )


def _latency(plan: Plan, candidate: float | None, champion: float | None) -> Check:
    if candidate is None or champion is None:
        return _left_out("latency", candidate)
    limit = max(plan.max_latency_ratio * champion, QUICK_SECONDS)
    return Check(
        name="latency",
        value=candidate,
        limit=limit,
        passed=candidate <= limit,
        detail=f"95 % of the answers within {candidate * 1000:.0f} ms, at most "
        f"{limit * 1000:.0f} ms (the champion's: {champion * 1000:.0f} ms)",
    )


def _drift(plan: Plan, candidate: float | None, champion: float | None) -> Check:
    if candidate is None or champion is None:
        return _left_out("drift", candidate)
    limit = champion + plan.max_drift
    return Check(
        name="drift",
        value=candidate,
        limit=limit,
        passed=candidate <= limit,
        detail=f"its predictions differ from its training's by {candidate:.2f} (PSI), at most "
        f"{limit:.2f} (the champion's: {champion:.2f})",
    )


def _left_out(name: str, value: float | None) -> Check:
    detail = "not compared: it is not measured of both versions"
    return Check(name=name, value=value, limit=None, passed=True, detail=detail)
