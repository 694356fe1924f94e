"""Drift of a file is measured as Prometheus measures that of the traffic."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from modelloop.batch import drift, scoring
from modelloop.serving.metrics import Metrics
from modelloop.serving.predictor import Prediction
from modelloop.table import bins
from modelloop.testing import example_model


@pytest.fixture(scope="module")
def model(project, example) -> scoring.LocalModel:
    return scoring.LocalModel(project, example)


def rows_of(masses: list[float], ages: list[float], colours: list[str]) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(example_model.NAMES, (masses, ages, colours), strict=True)))


def test_a_file_like_the_training_rows_has_no_drift(model):
    counted = drift.Drift(model.contract)
    counted.count(model.score(rows_of([4, 6] * 50, [3, 6] * 50, ["red", "green"] * 50)))

    assert [counted.psi()[name] for name in example_model.NAMES] == pytest.approx([0, 0, 0])


def test_drift_is_the_index_that_the_recording_rules_compute(model):
    counted = drift.Drift(model.contract)
    colours = ["red"] * 20 + ["green"] * 60
    counted.count(model.score(rows_of([4] * 60 + [np.nan] * 20, [6] * 80, colours)))

    # Of two bins, a half each in training; 60 rows and 20 of the prior; 80 rows and 20 of it.
    expected = {"mass": 70 / 80, "age": 10 / 100, "colour": 30 / 100}
    for name, first in expected.items():
        index = sum((p - 0.5) * math.log(p / 0.5) for p in (first, 1 - first))
        assert counted.psi()[name] == pytest.approx(index)
    # The predictions, about 6.8, are of the second bin of four: 0.4, 0.4, 0.1, 0.1 in training.
    shares = {0.4: [8 / 100, 88 / 100], 0.1: [2 / 100] * 2}
    index = sum((p - q) * math.log(p / q) for q, ps in shares.items() for p in ps)
    assert counted.psi()["prediction"] == pytest.approx(index)


def test_classes_are_counted_as_the_server_counts_them(project, tmp_path):
    example_model.make_classifier(tmp_path)
    model = scoring.LocalModel(project, tmp_path)
    counted, served = drift.Drift(model.contract), Metrics(model.contract)
    scored = model.score(rows_of([4] * 90, list(range(90)), ["red"] * 90))

    counted.count(scored)
    served.count_rows(Prediction(scored.outputs, None, scored.inputs))

    rows_by_bin = counted.bins()
    predictions = rows_by_bin[rows_by_bin["feature"] == drift.PREDICTION]
    page = served.page().decode()
    assert predictions["rows"].sum() == 90
    assert (predictions["rows"] > 0).sum() > 1
    for name, rows in zip(predictions["bin"], predictions["rows"], strict=True):
        (line,) = re.findall(rf'model_prediction_bin_total.*bin="{name}".* (\S+)', page)
        assert float(line) == rows


def test_refused_rows_do_not_count(model):
    counted = drift.Drift(model.contract)
    counted.count(model.score(rows_of([4, -1, 11], [3, 3, 3], ["red"] * 3)))

    assert counted.bins().groupby("feature")["rows"].sum().unique().tolist() == [1]


def test_counting_continues_with_restored_counts(model):
    first, second = drift.Drift(model.contract), drift.Drift(model.contract)
    half = model.score(rows_of([4, 6], [3, 6], ["red", "green"]))
    first.count(half)
    second.restore(first.counts)
    for counted in (first, second):
        counted.count(half)

    assert second.counts == first.counts
    pd.testing.assert_frame_equal(second.bins(), first.bins())


def test_the_plot_has_a_bar_for_each(model):
    figure = drift.plot({"mass": 0.5, "prediction": 0.01})

    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.01, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["prediction", "mass"]


def test_names_of_metrics_are_those_that_mlflow_takes():
    assert drift.metric("bill length (mm)") == "psi_bill length _mm_"


def test_the_numbers_are_those_of_the_rules(project):
    recorded = (project.root / "monitoring" / "recording.rules.yaml").read_text()
    alerts = (project.root / "monitoring" / "alerts.rules.yaml").read_text()

    assert {*re.findall(r"\+ (\d+)(?: \*|\))", recorded)} == {str(bins.PRIOR_ROWS)}
    assert {*re.findall(r"_psi:1h\S* > (\S+)", alerts)} == {str(drift.ALARM)}
