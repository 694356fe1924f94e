"""The data itself. Yours to extend with what must hold of your table."""

import json

import numpy as np
import pandas as pd
import pytest
from modelloop.newdata import profile
from modelloop.serving import Predictor
from modelloop.table import prepare, validate
from modelloop.training import choices

from {{ cookiecutter.package_name }} import data, model, project

TELLS_ALMOST_ALL: set[str] = set()  # features that may, because you know why


@pytest.fixture(scope="module")
def valid() -> pd.DataFrame:
    """The table, if it obeys the schema: types, ranges, categories, what may be missing."""
    env = project.settings
    return validate.validate(data.load(env.data_uri, env.data_query), data.SCHEMA)


def test_model_and_schema_fit_each_other():
    choices.check(model, data.SCHEMA, project.problem_type)


def test_the_table_obeys_the_schema(valid):
    assert len(valid) > 0


def test_rows_are_not_there_twice(valid):
    validate.check_duplicates(valid, data.DUPLICATES)


def test_training_knows_no_row_that_tests(rows):
    """By content that is so by itself; by time or by group, equal rows may be on both sides."""
    names = [*model.FEATURES, model.TARGET]
    train, test = (
        pd.util.hash_pandas_object(side[names], index=False) for side in (rows.train, rows.test)
    )
    assert test.isin(train).mean() <= data.DUPLICATES


def test_the_target_is_alike_on_both_sides(rows):
    """The share of each class, or the mean, differs by what chance explains: 4 standard errors."""
    train, test = rows.train[model.TARGET], rows.test[model.TARGET]
    if rows.target.kind == "category":
        train, test = (pd.get_dummies(side).astype(float) for side in (train, test))
    difference = train.mean() - test.mean()
    by_chance = np.sqrt(train.var() / len(train) + test.var() / len(test))
    assert (np.abs(difference) <= 4 * by_chance).all(), difference


def test_no_feature_tells_the_target_alone(rows):
    """A column that does was often filled in afterwards: the model then knows the answer."""
    some = rows.train.sample(min(len(rows.train), 2000), random_state=model.SEED)
    scores = {
        rule.name: profile.score_alone(
            some[rule.name], some[model.TARGET], rule.kind, project.problem_type
        )
        for rule in rows.features
    }
    suspicious = {name for name, score in scores.items() if score >= profile.LEAK_SCORE}
    assert suspicious <= TELLS_ALMOST_ALL


def test_the_server_sees_the_features_as_training_did(valid, rows, model_dir):
    some = valid[valid[model.TARGET].notna()].head(100)
    sent = json.loads(some[model.FEATURES].to_json(orient="values", double_precision=15))
    seen = Predictor.load(project, model_dir, len(sent)).predict(model.FEATURES, sent).inputs
    expected = prepare.prepare(some, rows.features, rows.target)
    assert [*seen] == model.FEATURES
    for name, values in seen.items():
        np.testing.assert_array_equal(values, expected[name].to_numpy())
