"""Drift of a file is measured as Prometheus measures that of the traffic."""

import math
import re

import example_model
import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }} import scoring, settings
from {{ cookiecutter.package_name }}.monitoring import drift
from {{ cookiecutter.package_name }}.serving.metrics import Metrics
from {{ cookiecutter.package_name }}.serving.predictor import Prediction


@pytest.fixture
def model(example) -> scoring.LocalModel:
    return scoring.LocalModel(example)


def rows_of(masses: list[float], ages: list[float], colours: list[str]) -> pd.DataFrame:
    return pd.DataFrame(dict(zip(example_model.NAMES, (masses, ages, colours), strict=True)))


def test_a_file_like_the_training_rows_has_no_drift(model):
    seen = drift.Drift(model.contract)
    seen.count(model.score(rows_of([4, 6] * 50, [3, 6] * 50, ["red", "green"] * 50)))

    assert [seen.psi()[name] for name in example_model.NAMES] == pytest.approx([0, 0, 0])


def test_drift_is_the_index_that_the_recording_rules_compute(model):
    seen = drift.Drift(model.contract)
    colours = ["red"] * 20 + ["green"] * 60
    seen.count(model.score(rows_of([4] * 60 + [np.nan] * 20, [6] * 80, colours)))

    # Of two bins, a half each in training; 60 rows and 20 of the prior; 80 rows and 20 of it.
    expected = {"mass": 70 / 80, "age": 10 / 100, "colour": 30 / 100}
    for name, first in expected.items():
        index = sum((p - 0.5) * math.log(p / 0.5) for p in (first, 1 - first))
        assert seen.psi()[name] == pytest.approx(index)
    # The predictions, about 6.8, are of the second bin of four: 0.4, 0.4, 0.1, 0.1 in training.
    shares = {0.4: [8 / 100, 88 / 100], 0.1: [2 / 100] * 2}
    index = sum((p - q) * math.log(p / q) for q, ps in shares.items() for p in ps)
    assert seen.psi()["prediction"] == pytest.approx(index)


def test_classes_are_counted_as_the_server_counts_them(tmp_path):
    example_model.make_classifier(tmp_path)
    model = scoring.LocalModel(tmp_path)
    seen, served = drift.Drift(model.contract), Metrics(model.contract)
    scored = model.score(rows_of([4] * 90, list(range(90)), ["red"] * 90))

    seen.count(scored)
    served.count_rows(Prediction(scored.outputs, None, scored.inputs))

    bins = seen.bins()
    found = bins[bins["feature"] == drift.PREDICTION]
    page = served.page().decode()
    assert found["rows"].sum() == 90
    assert (found["rows"] > 0).sum() > 1
    for name, rows in zip(found["bin"], found["rows"], strict=True):
        (line,) = re.findall(rf'model_prediction_bin_total.*bin="{name}".* (\S+)', page)
        assert float(line) == rows


def test_refused_rows_do_not_count(model):
    seen = drift.Drift(model.contract)
    seen.count(model.score(rows_of([4, -1, 11], [3, 3, 3], ["red"] * 3)))

    assert seen.bins().groupby("feature")["rows"].sum().unique().tolist() == [1]


def test_counting_goes_on_from_what_was_counted(model):
    first, second = drift.Drift(model.contract), drift.Drift(model.contract)
    half = model.score(rows_of([4, 6], [3, 6], ["red", "green"]))
    first.count(half)
    second.restore(first.counts)
    for seen in (first, second):
        seen.count(half)

    assert second.counts == first.counts
    pd.testing.assert_frame_equal(second.bins(), first.bins())


def test_the_plot_has_a_bar_for_each(model):
    figure = drift.plot({"mass": 0.5, "prediction": 0.01})

    axes = figure.axes[0]
    assert [bar.get_width() for bar in axes.patches] == [0.01, 0.5]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["prediction", "mass"]


def test_names_of_metrics_are_those_that_mlflow_takes():
    assert drift.metric("bill length (mm)") == "psi_bill length _mm_"


def test_the_numbers_are_those_of_the_rules():
    rules = settings.ROOT / "monitoring" / "prometheus"
    recorded = (rules / "recording.rules.yml").read_text()
    alerts = (rules / "alerts.rules.yml").read_text()

    assert {*re.findall(r"\+ (\d+)(?: \*|\))", recorded)} == {str(drift.SHRINK)}
    assert {*re.findall(r"_psi:1h\S* > (\S+)", alerts)} == {str(drift.ALARM)}
