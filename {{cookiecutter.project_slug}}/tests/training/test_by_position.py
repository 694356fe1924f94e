import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import (
    TransformedTargetRegressor,
    make_column_selector,
    make_column_transformer,
)
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import SelectKBest, f_classif, f_regression
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from {{ cookiecutter.package_name }} import project
from {{ cookiecutter.package_name }}.training import train
from {{ cookiecutter.package_name }}.training.by_position import by_position

CLASSIFICATION = project.PROBLEM_TYPE == "classification"
LINEAR = LogisticRegression(max_iter=5000) if CLASSIFICATION else Ridge()
BOOSTING = HistGradientBoostingClassifier if CLASSIFICATION else HistGradientBoostingRegressor
FOREST = (RandomForestClassifier if CLASSIFICATION else RandomForestRegressor)(n_estimators=5)
NUMBERS = make_column_selector(dtype_include=np.number)
TEXTS = make_column_selector(dtype_exclude=np.number)
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
ONE_HOT = OneHotEncoder(handle_unknown="ignore")
SCORE = f_classif if CLASSIFICATION else f_regression


def split(numbers: object = "passthrough", texts: object = ORDINAL, **options: object):
    return make_column_transformer((numbers, NUMBERS), (texts, TEXTS), **options)


PIPELINES = {
    "one-hot": make_pipeline(split(SimpleImputer(), ONE_HOT), LINEAR),
    "passed through": make_pipeline(split(), BOOSTING()),
    "remainder": make_pipeline(
        make_column_transformer((ORDINAL, TEXTS), remainder="passthrough"), BOOSTING()
    ),
    "target encoded": make_pipeline(split(SimpleImputer(), TargetEncoder()), LINEAR),
    "nested": make_pipeline(
        split(make_pipeline(make_column_transformer((SimpleImputer(), NUMBERS)), StandardScaler())),
        SelectKBest(SCORE, k=3),
        LINEAR,
    ),
    "data frames in between": make_pipeline(
        split().set_output(transform="pandas"), SimpleImputer(), FOREST
    ),
    "dropped": make_pipeline(split(texts="drop"), SimpleImputer(), FOREST),
    "inside another": make_pipeline(
        CalibratedClassifierCV(make_pipeline(split(), BOOSTING()), cv=2)
        if CLASSIFICATION
        else TransformedTargetRegressor(make_pipeline(split(), BOOSTING()))
    ),
}


@pytest.fixture(scope="module")
def inputs() -> pd.DataFrame:
    """A prepared table: numbers as float32, some missing, and texts between them."""
    random = np.random.default_rng(0)
    numbers = {name: random.normal(size=200).astype("float32") for name in ("a", "b", "c")}
    numbers["b"][random.random(200) < 0.1] = np.nan
    texts = {name: random.choice(["x", "y", "z"], 200) for name in ("t", "u")}
    table = pd.DataFrame(numbers | texts)
    return table[["a", "t", "b", "u", "c"]].astype({"t": object, "u": object})


@pytest.mark.parametrize("name", PIPELINES)
def test_positions_give_the_answers_that_names_give(inputs, name):
    value = inputs["a"] + (inputs["t"] == "x") + inputs["c"] ** 2
    truth = np.where(value > 1, "large", "small") if CLASSIFICATION else value
    fitted = PIPELINES[name].fit(inputs, truth)
    expected = train.from_sklearn(fitted)(train.table_of(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of names that are missing
        actual = answer(by_position(fitted), inputs.to_numpy(dtype=object))
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    # The original is as it was.
    np.testing.assert_array_equal(train.from_sklearn(fitted)(train.table_of(inputs)), expected)


def answer(fitted: object, rows: np.ndarray) -> np.ndarray:
    return fitted.predict_proba(rows) if CLASSIFICATION else fitted.predict(rows).reshape(-1, 1)
