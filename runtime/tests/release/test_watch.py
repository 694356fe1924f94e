"""How a canary is judged."""

from collections.abc import Callable

import pytest

from modelloop.release import watch
from modelloop.release.plan import Plan
from modelloop.release.watch import Measured, Outcome

CHAMPION = Measured(requests=2000, errors=20, latency=0.1, drift=0.05)


def measured(**changes: float | None) -> Measured:
    """A canary that is as good as the champion, but for the changes."""
    return Measured(**({"requests": 500, "errors": 5, "latency": 0.1, "drift": 0.05} | changes))


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({}, Outcome.HELD),
        ({"requests": 10, "errors": 0}, Outcome.HELD),
        ({"requests": 9, "errors": 0}, Outcome.INCONCLUSIVE),
        ({"requests": 0, "errors": 0, "latency": None}, Outcome.INCONCLUSIVE),
        ({"errors": 10}, Outcome.HELD),  # 2 %: the champion's 1 % and 1 % more
        ({"errors": 11}, Outcome.FAILED),
        ({"latency": 0.15}, Outcome.HELD),
        ({"latency": 0.151}, Outcome.FAILED),
        ({"drift": 0.25}, Outcome.HELD),
        ({"drift": 0.251}, Outcome.FAILED),
        ({"drift": None}, Outcome.HELD),
    ],
)
def test_each_limit_holds_on_both_its_sides(plan: Plan, changes: dict, outcome: Outcome):
    assert watch.judge(plan, measured(**changes), CHAMPION).outcome is outcome


def test_too_little_traffic_is_no_failure_even_if_all_of_it_failed(plan: Plan):
    verdict = watch.judge(plan, measured(requests=9, errors=9), CHAMPION)
    assert verdict.outcome is Outcome.INCONCLUSIVE
    assert "9 requests, at least 10 are needed" in verdict.decision.reasons[0]


def test_a_plan_may_let_a_model_without_requests_pass(plan: Plan):
    idle = measured(requests=0, errors=0, latency=None)
    lenient = plan.model_copy(update={"min_requests": 0})
    assert watch.judge(lenient, idle, CHAMPION).outcome is Outcome.HELD


def test_a_latency_below_what_users_notice_is_no_failure(plan: Plan):
    quick = Measured(requests=2000, errors=0, latency=0.004, drift=0.05)
    assert watch.judge(plan, measured(errors=0, latency=0.049), quick).outcome is Outcome.HELD
    assert watch.judge(plan, measured(errors=0, latency=0.051), quick).outcome is Outcome.FAILED


class Clock:
    """Time that passes only in `pause`."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


def run_step(plan: Plan, measure: Callable[[str, float], Measured]) -> tuple[watch.Verdict, float]:
    """The verdict of a step, and the seconds that it took."""
    clock = Clock()
    verdict = watch.watch(measure, plan, "2", "1", lambda _: None, clock, clock.pause)
    return verdict, clock.now - 1000.0


def test_a_good_canary_is_watched_for_the_whole_step(plan: Plan):
    long = plan.model_copy(update={"step_minutes": 10})
    windows: dict[str, list[float]] = {"1": [], "2": []}

    def measure(version: str, seconds: float) -> Measured:
        windows[version].append(seconds)
        return CHAMPION

    verdict, seconds = run_step(long, measure)
    assert (verdict.outcome, seconds) == (Outcome.HELD, pytest.approx(600))
    assert windows["2"][0] == pytest.approx(30)
    assert windows["2"][-1] == pytest.approx(600)
    assert windows["1"][-1] == pytest.approx(1200)  # and the step before


def test_a_bad_canary_ends_the_step_at_once(plan: Plan):
    long = plan.model_copy(update={"step_minutes": 10})
    bad = measured(errors=400)
    verdict, seconds = run_step(long, lambda version, _: bad if version == "2" else CHAMPION)
    assert (verdict.outcome, seconds) == (Outcome.FAILED, pytest.approx(30))


def test_little_traffic_at_first_is_waited_for(plan: Plan):
    long = plan.model_copy(update={"step_minutes": 10})

    def measure(version: str, seconds: float) -> Measured:
        return measured(requests=seconds / 60, errors=0) if version == "2" else CHAMPION

    assert run_step(long, measure)[0].outcome is Outcome.HELD
