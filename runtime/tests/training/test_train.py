import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OrdinalEncoder, StandardScaler
from sklearn.semi_supervised import LabelSpreading

from modelloop.contract.served_model import load_skops
from modelloop.errors import UserError
from modelloop.table.columns import ColumnRule
from modelloop.training import classification, evaluate
from modelloop.training import regression as estimation
from modelloop.training import train as training
from modelloop.training.train import choose_form, table_of, train

CLASS = ColumnRule("truth", "category", "str", False, "", "", None, None, None)
NUMBER = ColumnRule("truth", "number", "float64", False, "", "", None, None, None)


class Foreign(LogisticRegression):
    """A type that neither skl2onnx nor the server knows."""


def noise(rows: int) -> pd.DataFrame:
    """Numbers as a prepared table has them."""
    random = np.random.default_rng(0)
    return pd.DataFrame({n: random.normal(size=rows).astype("float32") for n in ("a", "b")})


def test_training_twice_gives_the_same_model(project, rows, trained):
    model = project.model
    again = train(project, next(iter(model.CANDIDATES.values())), rows, model.SEED)
    assert again.cross_validation == trained.cross_validation
    table = table_of(rows.inputs(rows.test))
    np.testing.assert_array_equal(again.predict(table), trained.predict(table))


def test_what_cannot_be_converted_is_served_with_scikit_learn(either, rows):
    classifies = either.problem_type == "classification"
    estimator = LabelSpreading() if classifies else KernelRidge()
    some = rows.test.head(500)  # both estimators compare each row with each other one
    truth = some[rows.target.name] if classifies else np.arange(len(some)) / 7
    fitted = make_pipeline(OrdinalEncoder(), SimpleImputer(), estimator).fit(
        rows.inputs(some), truth
    )
    original = training.from_sklearn(fitted, either.problem_type)
    table = table_of(rows.inputs(some))
    served, file, predict = choose_form(either, fitted, table)
    assert served.form == "skops"
    assert "ONNX conversion failed" in served.reason
    np.testing.assert_array_equal(predict(table), original(table))
    loaded = load_skops(either, file, either.problem_type)
    np.testing.assert_array_equal(loaded(table), original(table))


def test_what_the_server_would_refuse_is_refused_with_type_and_reason(project):
    inputs = noise(80)
    fitted = make_pipeline(Foreign()).fit(inputs, np.where(inputs["a"] > 0, 1, 0))
    with pytest.raises(UserError, match="server could not load it") as refused:
        choose_form(project, fitted, table_of(inputs))
    assert "ONNX conversion failed: MissingShapeCalculator" in str(refused.value)
    assert f"types that are not trusted: ['{Foreign.__module__}.Foreign']" in str(refused.value)


def test_what_needs_data_frames_without_onnx_is_refused_too(project):
    inputs = noise(80)
    frame = FunctionTransformer(pd.DataFrame.abs)
    fitted = make_pipeline(frame, LabelSpreading()).fit(inputs, np.where(inputs["a"] > 0, 1, 0))
    with pytest.raises(UserError, match="they must work on arrays"):
        choose_form(project, fitted, table_of(inputs))


def test_the_libraries_of_boosted_trees_are_not_needed(project, monkeypatch):
    for library in (*training.BOOSTED, "onnxmltools"):
        monkeypatch.setitem(sys.modules, library, None)  # importing it fails
    inputs = noise(80)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(inputs, np.sign(inputs["a"]))
    served, _, _ = choose_form(project, fitted, table_of(inputs))
    assert served.form == "onnx", served.reason


def test_numbers_need_no_transformer_of_columns(project):
    inputs = noise(80)
    fitted = make_pipeline(RandomForestClassifier(n_estimators=3)).fit(
        inputs, np.where(inputs["a"] > 0, 1, 0)
    )
    served, _, _ = choose_form(project, fitted, table_of(inputs))
    assert served.form == "onnx", served.reason


def test_a_small_difference_of_large_values_is_rounding_and_a_larger_one_is_not(
    regression, monkeypatch
):
    inputs = noise(2000)
    truth = 5000 * inputs["a"] - 5000 * inputs["b"]  # some sums are nearly 0
    fitted = make_pipeline(StandardScaler(), LinearRegression()).fit(inputs, truth)
    served, _, _ = choose_form(regression, fitted, table_of(inputs))
    assert served.form == "onnx", served.reason
    assert served.largest_difference > 1e-5
    file = training.to_onnx(fitted, table_of(inputs))
    fitted[-1].intercept_ += 1
    monkeypatch.setattr(training, "to_onnx", lambda *_: file)
    served, _, _ = choose_form(regression, fitted, table_of(inputs))
    assert served.form == "skops"
    assert "ONNX differs from scikit-learn by 1 on" in served.reason


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("\n  no kernel\nfor this"), "ValueError: no kernel"),
        (AssertionError(), "AssertionError: no message"),
    ],
)
def test_an_error_of_a_converter_is_put_into_one_line(error, line):
    assert training.in_one_line(error) == line


def test_a_long_error_is_cut():
    assert len(training.in_one_line(ValueError("many words " * 1000))) < 400


@pytest.mark.parametrize(
    ("problem", "metric", "worse"), [(classification, "accuracy", 0.1), (estimation, "rmse", 900.0)]
)
def test_the_best_candidate_is_the_one_with_the_best_cross_validated_score(problem, metric, worse):
    scores = {"a": worse, "b": 0.5, "c": float("nan")}
    assert evaluate.best(scores, metric, problem) == "b"


def test_slices_with_few_rows_are_not_judged(project, rows, trained):
    model = project.model
    table = rows.test.assign(group=["few"] * 3 + ["many"] * (len(rows.test) - 3))
    gate = model.GATE.__class__(
        metric=model.GATE.metric, floor=0, margin=0, slices=["group"], slice_rows=10
    )
    inputs = [*model.FEATURES, "group", model.TARGET]

    def predict(given):
        return trained.predict({name: given[name] for name in model.FEATURES})

    scores = evaluate.slice_scores(table[inputs], rows.target, predict, trained.classes, gate)
    assert list(scores) == ["group=many"]


def test_importance_finds_the_feature_that_matters():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"noise": random.normal(size=80), "signal": random.normal(size=80)})
    truth = np.where(table["signal"] > 0, "b", "a")
    fitted = make_pipeline(LogisticRegression()).fit(table, truth)
    predict = training.from_sklearn(fitted, "classification")
    rows = table.assign(truth=truth)
    figure = evaluate.importance(fitted, predict, rows, CLASS, "accuracy", seed=0)
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["noise", "signal"]


def test_importance_of_many_features_takes_few_predictions(monkeypatch):
    monkeypatch.setattr(evaluate, "IMPORTANCE_FEATURES", 10)
    random = np.random.default_rng(0)
    table = pd.DataFrame(random.normal(size=(40, 25)), columns=[f"x{i}" for i in range(25)])
    fitted = make_pipeline(LinearRegression()).fit(table, table["x0"])
    predict = training.from_sklearn(fitted, "regression")
    calls = []
    evaluate.importance(
        fitted,
        lambda rows: calls.append(1) or predict(rows),
        table.assign(truth=table["x0"]),
        NUMBER,
        "rmse",
        seed=0,
    )
    assert len(calls) == 1 + 25 * 2
