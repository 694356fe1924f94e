import numpy as np
import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder
from sklearn.semi_supervised import LabelSpreading

from {{ cookiecutter.package_name }} import model, project
from {{ cookiecutter.package_name }}.served_model import from_sklearn, load_skops
from {{ cookiecutter.package_name }}.training import evaluate
from {{ cookiecutter.package_name }}.training.train import choose_form, table_of, train

CLASSIFICATION = project.PROBLEM_TYPE == "classification"


def test_training_twice_gives_the_same_model(rows, trained):
    again = train(next(iter(model.CANDIDATES.values())), rows, model.SEED)
    assert again.cross_validation == trained.cross_validation
    table = table_of(rows.inputs(rows.test))
    np.testing.assert_array_equal(again.predict(table), trained.predict(table))


def test_what_cannot_be_converted_is_served_with_scikit_learn(rows):
    estimator = LabelSpreading() if CLASSIFICATION else KernelRidge()
    fitted = make_pipeline(OrdinalEncoder(), SimpleImputer(), estimator).fit(
        rows.inputs(rows.test), rows.test[model.TARGET]
    )
    original = from_sklearn(fitted, project.PROBLEM_TYPE)
    table = table_of(rows.inputs(rows.test))
    served, file, predict = choose_form(fitted, table)
    assert served.form == "skops"
    assert "ONNX conversion failed" in served.reason
    np.testing.assert_array_equal(predict(table), original(table))
    loaded = load_skops(file, project.PROBLEM_TYPE)
    np.testing.assert_array_equal(loaded(table), original(table))


def test_the_best_candidate_is_the_one_with_the_best_cross_validated_score():
    metric, worse = ("accuracy", 0.1) if CLASSIFICATION else ("rmse", 900.0)
    assert evaluate.best({"a": worse, "b": 0.5, "c": float("nan")}, metric) == "b"


def test_slices_with_few_rows_are_not_judged(rows, trained):
    table = rows.test.assign(group=["few"] * 3 + ["many"] * (len(rows.test) - 3))
    gate = model.GATE.__class__(
        metric=model.GATE.metric, floor=0, margin=0, slices=["group"], slice_rows=10
    )
    inputs = [*model.FEATURES, "group", model.TARGET]
    scores = evaluate.slice_scores(
        table[inputs], model.TARGET, trained.predict, trained.classes, gate
    )
    assert list(scores) == ["group=many"]


def test_importance_finds_the_feature_that_matters():
    random = np.random.default_rng(0)
    table = pd.DataFrame({"noise": random.normal(size=80), "signal": random.normal(size=80)})
    truth = np.where(table["signal"] > 0, "b", "a") if CLASSIFICATION else table["signal"]
    fitted = make_pipeline(LogisticRegression() if CLASSIFICATION else LinearRegression())
    figure = evaluate.importance(
        fitted.fit(table, truth), table.assign(truth=truth), "truth", model.GATE.metric, seed=0
    )
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == ["noise", "signal"]
