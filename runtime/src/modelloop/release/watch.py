"""Compare a canary with the champion while both serve, and judge it.

Too little traffic is an outcome of its own: it proves nothing, so the canary does not pass.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from modelloop.contract.contract import Check, Decision
from modelloop.release.plan import Plan

CHECKS = 20  # in the time of one step
QUICK_SECONDS = 0.05  # a latency below it is never too high: no user notices the difference


class Outcome(StrEnum):
    """The result of a step."""

    HELD = "held"
    FAILED = "failed"
    INCONCLUSIVE = "too little traffic"


@dataclass(frozen=True)
class Measured:
    """What was measured of a version over some seconds.

    Attributes:
        requests: number of requests; not whole, where it is extrapolated from scrapes.
        errors: number of them that failed with a server error.
        latency: 95th percentile of the response time in seconds; None without a request.
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
class Verdict:
    """The result of a step, with every check behind it."""

    outcome: Outcome
    decision: Decision


def watch(
    measure: Callable[[str, float], Measured],
    plan: Plan,
    candidate: str,
    champion: str,
    report: Callable[[str], None],
    clock: Callable[[], float] = time.monotonic,
    pause: Callable[[float], None] = time.sleep,
) -> Verdict:
    """Check the candidate repeatedly for the time of one step; the first failure ends it.

    Args:
        measure: what was measured of a version in the last seconds.
        plan: the time of a step, and the limits.
        candidate: the version on trial.
        champion: the version that it is compared with.
        report: called with the table of the checks and the outcome, once.
        clock: monotonic time in seconds.
        pause: sleeps for seconds.

    Raises:
        UserError: the versions cannot be measured.
    """
    seconds = plan.step_minutes * 60
    start = clock()
    elapsed = 0.0
    while True:
        pause(min(seconds / CHECKS, seconds - elapsed))
        elapsed = clock() - start
        # The champion's step before counts, too: in the last step it gets no requests any more.
        verdict = judge(plan, measure(candidate, elapsed), measure(champion, elapsed + seconds))
        if elapsed >= seconds or verdict.outcome is Outcome.FAILED:
            report(verdict.decision.table().rpartition("\n")[0])
            report(f"version {candidate}: {verdict.outcome}")
            return verdict


def judge(plan: Plan, candidate: Measured, champion: Measured) -> Verdict:
    """Compare a candidate with the champion, within the plan's limits."""
    checks = [
        _traffic(plan, candidate),
        _errors(plan, candidate, champion),
        _latency(plan, candidate.latency, champion.latency),
        _drift(plan, candidate.drift, champion.drift),
    ]
    decision = Decision(passed=all(check.passed for check in checks), checks=checks)
    if decision.passed:
        return Verdict(Outcome.HELD, decision)
    enough = checks[0].passed
    return Verdict(Outcome.FAILED if enough else Outcome.INCONCLUSIVE, decision)


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
        return _not_compared("latency", candidate)
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
        return _not_compared("drift", candidate)
    limit = champion + plan.max_drift
    return Check(
        name="drift",
        value=candidate,
        limit=limit,
        passed=candidate <= limit,
        detail=f"its predictions differ from its training's by {candidate:.2f} (PSI), at most "
        f"{limit:.2f} (the champion's: {champion:.2f})",
    )


def _not_compared(name: str, value: float | None) -> Check:
    detail = "not compared: it is not measured of both versions"
    return Check(name=name, value=value, limit=None, passed=True, detail=detail)
