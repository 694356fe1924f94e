import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from modelloop.contract import served_model
from modelloop.contract.contract import Contract
from modelloop.serving.metrics import CODES, Metrics
from modelloop.serving.payload import Feedback
from modelloop.serving.predictor import Prediction, Refusal
from modelloop.testing import example_model

RANDOM = np.random.default_rng(1)
EDGE = 5.0  # of the example's numbers


@pytest.fixture
def contract(tmp_path: Path) -> Contract:
    return example_model.make(tmp_path)


@pytest.fixture
def classifier(tmp_path: Path) -> Contract:
    """The example that answers three classes."""
    return example_model.make_classifier(tmp_path)


def series(metrics: Metrics) -> dict[str, float]:
    """What the page says, by name and labels; without the model's own labels."""
    found = {}
    for family in text_string_to_metric_families(metrics.page().decode()):
        for sample in family.samples:
            labels = {k: v for k, v in sample.labels.items() if not k.startswith("model_")}
            assert sample.labels["model_name"] == "answers"
            assert sample.labels["model_version"] == "3"
            key = sample.name + (str(labels) if labels else "")
            assert key not in found
            found[key] = sample.value
    return found


def bins(metrics: Metrics, feature: str) -> dict[str, float]:
    """The counts of a feature's bins that are not 0."""
    family = "model_feature_bin_total"
    found = {
        sample.labels["bin"]: sample.value
        for metric in text_string_to_metric_families(metrics.page().decode())
        for sample in metric.samples
        if sample.name == family and sample.labels["feature"] == feature
    }
    return {name: count for name, count in found.items() if count}


def scored(mass: list, age: list, colour: list[str], outputs: list | None = None) -> Prediction:
    columns = {
        "mass": np.array(mass, dtype=np.float32),
        "age": np.array(age, dtype=np.float32),
        "colour": np.array(colour, dtype=object),
    }
    return Prediction(np.array(outputs or [[10.0]] * len(mass)), None, columns)


def row(prediction: Prediction, i: int) -> Prediction:
    inputs = {name: column[i : i + 1] for name, column in prediction.inputs.items()}
    return replace(prediction, outputs=prediction.outputs[i : i + 1], inputs=inputs)


# From the start


@pytest.mark.parametrize("problem", ["regression", "classification"])
def test_every_counter_is_there_before_anything_happens(request, problem):
    chosen = request.getfixturevalue("contract" if problem == "regression" else "classifier")
    found = series(Metrics(chosen))
    counters = {key: v for key, v in found.items() if "_total" in key or "_bucket" in key}
    counters.pop("process_cpu_seconds_total")
    assert set(counters.values()) == {0}
    assert [key for key in found if key.startswith("model_requests_total")] == [
        f"model_requests_total{ {'code': str(code)} }" for code in CODES
    ]
    assert found["model_info"] == 1
    assert found["model_trained_timestamp_seconds"] == 1767225600  # 2026-01-01
    assert found["model_outlier_reference_ratio"] == 0.01
    wanted = (
        {"model_feedback_absolute_error_total", "model_feedback_squared_error_total"}
        | {"model_absolute_error_reference"}
        if problem == "regression"
        else {"model_expected_correct_total", "model_accuracy_reference_ratio"}
    )
    assert wanted <= set(found)


def test_the_reference_is_what_the_contract_says(contract):
    found = series(Metrics(contract))
    for column in contract.features:
        for name, share in zip(column.reference.bins, column.reference.shares, strict=True):
            labels = {"bin": name, "feature": column.name}
            assert found[f"model_feature_reference_ratio{labels}"] == share


def test_a_category_called_other_is_not_the_bin_of_all_others(classifier):
    metrics = Metrics(classifier)
    metrics.count_rows(scored([1], [1], ["red"], [[0.1, 0.2, 0.7]]))
    found = series(metrics)
    assert found["model_prediction_bin_total{'bin': '=other'}"] == 1
    assert found["model_prediction_bin_total{'bin': 'other'}"] == 0


# Inputs


def test_rows_are_counted_in_the_bins_of_their_values(contract):
    metrics = Metrics(contract)
    metrics.count_rows(scored([4.9], [EDGE], ["red"]))
    metrics.count_rows(scored([np.nan, 5.1, 1], [6, 6, 6], ["missing", "blue", "green"]))
    assert bins(metrics, "mass") == {"b0": 2, "b1": 1, "missing": 1}
    assert bins(metrics, "age") == {"b1": 4}
    assert bins(metrics, "colour") == {"red": 1, "green": 1, "other": 1, "missing": 1}
    assert series(metrics)["model_rows_total"] == 4


def test_one_by_one_and_together_count_the_same(contract):
    mass = np.where(RANDOM.random(500) < 0.1, np.nan, RANDOM.normal(5, 4, 500))
    everything = scored(mass, RANDOM.normal(40, 15, 500), RANDOM.choice(["red", "green"], 500))
    together, apart = Metrics(contract), Metrics(contract)
    together.count_rows(everything)
    for i in range(500):
        apart.count_rows(row(everything, i))
    ours = ("model_feature", "model_prediction", "model_rows", "model_outlier")
    first, second = (
        {key: value for key, value in series(m).items() if key.startswith(ours)}
        for m in (together, apart)
    )
    assert first == second
    known = everything.inputs["mass"][~np.isnan(mass)]
    assert bins(together, "mass")["b0"] == (known < EDGE).sum()


def test_rows_far_from_the_training_rows_are_outliers(contract):
    metrics = Metrics(contract)
    detector = contract.outliers
    mass = np.where(RANDOM.random(2000) < 0.1, np.nan, RANDOM.normal(5, 4, 2000))
    everything = scored(mass, RANDOM.normal(40, 20, 2000), ["red"] * 2000)
    metrics.count_rows(everything)
    numbers = np.stack([everything.inputs[name] for name in detector.features], axis=1)
    centred = np.nan_to_num(numbers.astype(float) - detector.mean)  # missing: as the mean
    distance = np.einsum("ni,ij,nj->n", centred, np.array(detector.precision), centred)
    found = series(metrics)["model_outlier_rows_total"]
    assert found == (distance > detector.threshold).sum() > 100


def test_a_refused_value_is_counted_where_it_belongs(contract):
    metrics = Metrics(contract)
    for reason, feature, row in [
        ("UNKNOWN_CATEGORY", "colour", 0),
        ("OUT_OF_RANGE", "mass", 3),
        ("MISSING_VALUE", "age", 1),
        ("WRONG_NAMES", "mass", None),
        ("TOO_MANY_ROWS", None, None),
    ]:
        metrics.count_refused_value(Refusal(422, reason, "", row, feature))
    assert bins(metrics, "colour") == {"other": 1}
    assert bins(metrics, "mass") == {"other": 1}
    assert bins(metrics, "age") == {"missing": 1}


# Answers and requests


def test_predictions_are_counted_by_class_with_what_should_be_right(classifier):
    metrics = Metrics(classifier)
    outputs = [[0.7, 0.2, 0.1], [0.1, 0.5, 0.4], [0.6, 0.3, 0.1]]
    metrics.count_rows(scored([1, 2, 3], [1, 2, 3], ["red"] * 3, outputs))
    found = series(metrics)
    assert found["model_prediction_bin_total{'bin': 'low'}"] == 2
    assert found["model_prediction_bin_total{'bin': 'mid'}"] == 1
    assert found["model_expected_correct_total"] == pytest.approx(0.7 + 0.5 + 0.6)


def test_predictions_are_counted_by_value(contract):
    metrics = Metrics(contract)
    metrics.count_rows(scored([1, 1, 1], [1, 1, 1], ["red"] * 3, [[4.9], [5.0], [99]]))
    found = series(metrics)
    assert found["model_prediction_bin_total{'bin': 'b0'}"] == 1
    assert found["model_prediction_bin_total{'bin': 'b1'}"] == 2


def test_requests_are_counted_by_code_and_answers_by_time(contract):
    metrics = Metrics(contract)
    for seconds in (0.001, 0.0011, 0.25, 0.26, 60):
        metrics.count_answer(seconds)
    for code in (422, 422, 500):
        metrics.count_refusal(code)
    found = series(metrics)
    counts = {code: found[f"model_requests_total{ {'code': str(code)} }"] for code in CODES}
    assert counts == {200: 5, 400: 0, 408: 0, 413: 0, 415: 0, 422: 2, 500: 1}
    buckets = {"0.001": 1, "0.0025": 2, "0.1": 2, "0.25": 3, "0.5": 4, "2.5": 4, "+Inf": 5}
    for bound, count in buckets.items():
        assert found[f"model_request_duration_seconds_bucket{ {'le': bound} }"] == count
    assert found["model_request_duration_seconds_sum"] == pytest.approx(60.5121)


# Feedback


def test_rewards_are_counted_those_of_0_too(classifier):
    metrics = Metrics(classifier)
    for reward in (1, 0, 0, 0.5):
        assert metrics.count_feedback(Feedback("p", reward=reward)) == "counted"
    found = series(metrics)
    assert found["model_feedback_total"] == 4
    assert found["model_feedback_reward_total"] == 1.5


def test_labels_are_held_against_the_predictions(classifier):
    metrics = Metrics(classifier)
    metrics.count_feedback(
        Feedback("p", "3", truth=["low", "low", "new"], predicted=["low", "mid", "mid"])
    )
    found = series(metrics)
    assert found["model_feedback_total"] == 3
    assert found["model_feedback_reward_total"] == pytest.approx(1)
    outcomes = {
        ("low", "low"): 1,
        ("low", "mid"): 1,
        ("other", "mid"): 1,
        ("mid", "mid"): 0,
        ("=other", "=other"): 0,
    }
    for (truth, predicted), count in outcomes.items():
        labels = {"predicted": predicted, "truth": truth}
        assert found[f"model_feedback_outcome_total{labels}"] == count


def test_errors_are_added_up(contract):
    metrics = Metrics(contract)
    metrics.count_feedback(Feedback("p", truth=[10.0, 7.0], predicted=[8.0, 10.0]))
    found = series(metrics)
    assert found["model_feedback_total"] == 2
    assert found["model_feedback_absolute_error_total"] == 5
    assert found["model_feedback_squared_error_total"] == 13


def test_the_age_of_the_prediction_is_counted(contract, monkeypatch):
    metrics = Metrics(contract)
    monkeypatch.setattr("time.time", lambda: 1000.0 + 7200)
    feedback = Feedback("p", truth=[1.0], predicted=[1.0], answered_at=1000.0)
    metrics.count_feedback(feedback)
    found = series(metrics)
    assert found["model_feedback_delay_seconds_sum"] == 7200
    assert found["model_feedback_delay_seconds_bucket{'le': '3600.0'}"] == 0
    assert found["model_feedback_delay_seconds_bucket{'le': '21600.0'}"] == 1


def test_feedback_that_is_not_counted_has_a_reason(contract):
    metrics = Metrics(contract)
    other = Feedback("p", "2", truth=[1.0], predicted=[1.0])
    assert metrics.count_feedback(other) == "other_version"
    assert metrics.count_feedback(Feedback("p", truth=[1.0, 2.0])) == "no_prediction"
    assert metrics.count_feedback(Feedback("p", reward=1)) == "no_truth"
    found = series(metrics)
    assert found["model_feedback_total"] == 0
    assert found["model_feedback_skipped_total{'reason': 'other_version'}"] == 1
    assert found["model_feedback_skipped_total{'reason': 'no_prediction'}"] == 2
    assert found["model_feedback_skipped_total{'reason': 'no_truth'}"] == 1


# A team's own


def test_a_mistake_in_a_metric_of_the_team_costs_no_answer_and_is_logged_once(contract, caplog):
    metrics = Metrics(contract)
    metrics.add_custom(lambda prediction: prediction.nothing, CollectorRegistry())
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            metrics.count_rows(scored([1], [1], ["red"]))
    found = series(metrics)
    assert found["model_rows_total"] == 3
    assert found["model_custom_metrics_failures_total"] == 3
    assert len(caplog.records) == 1


def test_every_feature_of_this_repositorys_model_is_counted(model_dir):
    contract = Contract.read(model_dir)
    rows = [golden.inputs for golden in contract.golden]
    table = served_model.to_table(contract.features, rows)
    outputs = np.array([golden.outputs for golden in contract.golden])
    metrics = Metrics(contract)
    metrics.count_rows(Prediction(outputs, None, table))
    for column in contract.features:
        assert sum(bins(metrics, column.name).values()) == len(rows)
