import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.columns import ColumnRule, DataError
from {{ cookiecutter.package_name }}.training.prepare import fingerprint, prepare, split


def rule(name: str, kind: str) -> ColumnRule:
    return ColumnRule(name, kind, "", True, "", "", None, None, None)


FEATURES = [rule("colour", "category"), rule("size", "number")]
TARGET = rule("price", "number")


def table(n: int) -> pd.DataFrame:
    random = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "size": random.normal(size=n),
            "colour": random.choice(["red", "blue"], size=n),
            "price": random.normal(size=n),
        }
    )


def test_prepared_columns_have_the_types_that_models_take():
    raw = pd.DataFrame({"colour": ["red", None], "size": [1, None], "price": [3, 4], "id": [8, 9]})
    found = prepare(raw, FEATURES, TARGET)
    assert list(found.columns) == ["colour", "size", "price"]
    assert found["colour"].tolist() == ["red", "missing"]
    assert found["size"].dtype == np.float32
    assert np.isnan(found["size"][1])
    assert found["price"].dtype == np.float64


def test_rows_without_a_target_are_dropped():
    raw = table(30)
    raw.loc[[0, 7], "price"] = None
    assert len(prepare(raw, FEATURES, TARGET)) == 28


def test_no_target_at_all_is_refused():
    with pytest.raises(DataError, match="column price: no row has a value"):
        prepare(table(3).assign(price=None), FEATURES, TARGET)


def test_the_reserved_category_is_refused():
    with pytest.raises(DataError, match="column colour: the category 'missing' is reserved"):
        prepare(table(3).assign(colour="missing"), FEATURES, TARGET)


def test_a_row_stays_on_its_side_when_the_table_grows_and_is_shuffled():
    small, large = table(1000), table(2000)
    small_test = split(large.head(1000), 0.25)[1]
    large_test = split(large.sample(frac=1, random_state=1), 0.25)[1]
    assert len(small_test.merge(large_test)) == len(small_test)
    assert 0.2 < len(small_test) / len(small) < 0.3


def test_equal_rows_are_never_on_both_sides():
    twice = pd.concat([table(200), table(200)])
    train, test = split(twice, 0.25)
    assert train.merge(test).empty


def test_too_few_rows_are_refused():
    with pytest.raises(DataError, match="30 rows with a target are too few"):
        split(table(30), 0.25)


def test_a_fingerprint_changes_with_content_and_names():
    first = table(10)
    assert fingerprint(first) == fingerprint(first.copy())
    assert fingerprint(first) != fingerprint(first.assign(size=0.0))
    assert fingerprint(first) != fingerprint(first.rename(columns={"size": "length"}))
