import math

import pytest

from modelloop.training.gate import Evaluation, Gate, decide

HIGHER = Gate("accuracy", floor=0.8, margin=0.02, slices=["a"], slice_floor=0.6, latency_ms=5)
LOWER = Gate("rmse", floor=400, margin=10, slices=["a"], slice_floor=500, latency_ms=5)


def measured(**changes) -> Evaluation:
    good = {
        "higher_is_better": True,
        "score": 0.9,
        "champion": 0.91,
        "champion_note": "champion version 1",
        "slices": {"a=x": 0.7},
        "latency_ms": 1.0,
    }
    return Evaluation(**(good | changes))


def failed(decision) -> list[str]:
    return [check.name for check in decision.checks if not check.passed]


def test_a_good_candidate_passes():
    decision = decide(measured(), HIGHER)
    assert decision.passed
    assert decision.reasons == []


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"score": 0.79, "champion": None}, "floor"),
        ({"champion": 0.93}, "champion"),
        ({"slices": {"a=x": 0.9, "a=y": 0.59}}, "slice a=y"),
        ({"latency_ms": 5.1}, "latency"),
    ],
)
def test_a_candidate_that_misses_one_demand_is_rejected_for_it(changes, check):
    decision = decide(measured(**changes), HIGHER)
    assert not decision.passed
    assert failed(decision) == [check]
    assert decision.reasons[0].startswith(check)


def test_a_limit_itself_is_enough():
    exact = measured(score=0.8, champion=0.82, slices={"a=x": 0.6}, latency_ms=5.0)
    assert decide(exact, HIGHER).passed


def test_the_first_release_is_judged_by_the_floors_alone():
    first = measured(champion=None, champion_note="no champion yet")
    (champion,) = [c for c in decide(first, HIGHER).checks if c.name == "champion"]
    assert champion.passed
    assert champion.limit is None
    assert "no champion yet" in champion.detail


def test_for_an_error_metric_lower_is_better():
    good = {"higher_is_better": False, "score": 395.0, "champion": 386.0, "slices": {"a=x": 450.0}}
    assert decide(measured(**good), LOWER).passed
    bad = good | {"score": 401.0, "champion": 380.0, "slices": {"a=x": 501.0}}
    assert failed(decide(measured(**bad), LOWER)) == ["floor", "champion", "slice a=x"]


def test_a_score_that_is_not_a_number_is_rejected():
    decision = decide(measured(score=math.nan, slices={"a=x": math.nan}), HIGHER)
    assert failed(decision) == ["floor", "champion", "slice a=x"]
