import functools
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
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from modelloop.training import train
from modelloop.training.by_position import by_position

NUMBERS = make_column_selector(dtype_include=np.number)
TEXTS = make_column_selector(dtype_exclude=np.number)
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
ONE_HOT = OneHotEncoder(handle_unknown="ignore")
NAMES = [
    "one-hot",
    "passed through",
    "remainder",
    "target encoded",
    "nested",
    "data frames in between",
    "dropped",
    "inside another",
]


def split(numbers: object = "passthrough", texts: object = ORDINAL, **options: object):
    return make_column_transformer((numbers, NUMBERS), (texts, TEXTS), **options)


def pipelines(classifies: bool) -> dict[str, Pipeline]:
    linear = LogisticRegression(max_iter=5000) if classifies else Ridge()
    trees = HistGradientBoostingClassifier if classifies else HistGradientBoostingRegressor
    boosting = functools.partial(trees, max_iter=5)
    forest = (RandomForestClassifier if classifies else RandomForestRegressor)(n_estimators=5)
    inner = make_pipeline(split(), boosting())
    imputed = make_pipeline(make_column_transformer((SimpleImputer(), NUMBERS)), StandardScaler())
    found = [
        make_pipeline(split(SimpleImputer(), ONE_HOT), linear),
        make_pipeline(split(), boosting()),
        make_pipeline(
            make_column_transformer((ORDINAL, TEXTS), remainder="passthrough"), boosting()
        ),
        make_pipeline(split(SimpleImputer(), TargetEncoder()), linear),
        make_pipeline(
            split(imputed), SelectKBest(f_classif if classifies else f_regression, k=3), linear
        ),
        make_pipeline(split().set_output(transform="pandas"), SimpleImputer(), forest),
        make_pipeline(split(texts="drop"), SimpleImputer(), forest),
        make_pipeline(
            CalibratedClassifierCV(inner, cv=2) if classifies else TransformedTargetRegressor(inner)
        ),
    ]
    return dict(zip(NAMES, found, strict=True))


@pytest.fixture(scope="module")
def inputs() -> pd.DataFrame:
    """A prepared table: numbers as float32, some missing, and texts between them."""
    random = np.random.default_rng(0)
    numbers = {name: random.normal(size=200).astype("float32") for name in ("a", "b", "c")}
    numbers["b"][random.random(200) < 0.1] = np.nan
    texts = {name: random.choice(["x", "y", "z"], 200) for name in ("t", "u")}
    table = pd.DataFrame(numbers | texts)
    return table[["a", "t", "b", "u", "c"]].astype({"t": object, "u": object})


@pytest.mark.parametrize("name", NAMES)
def test_positions_give_the_answers_that_names_give(either, inputs, name):
    classifies = either.problem_type == "classification"
    value = inputs["a"] + (inputs["t"] == "x") + inputs["c"] ** 2
    truth = np.where(value > 1, "large", "small") if classifies else value
    fitted = pipelines(classifies)[name].fit(inputs, truth)
    predict = train.from_sklearn(fitted, either.problem_type)
    expected = predict(train.table_of(inputs))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of names that are missing
        found = by_position(fitted, either.features)
        rows = inputs.to_numpy(dtype=object)
        actual = found.predict_proba(rows) if classifies else found.predict(rows).reshape(-1, 1)
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
    # The original is as it was.
    np.testing.assert_array_equal(predict(train.table_of(inputs)), expected)
