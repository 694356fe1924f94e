import numpy as np
import pandas as pd
import pytest

from modelloop.table.columns import ColumnRule, DataError
from modelloop.table.prepare import fingerprint, prepare, split, weights
from modelloop.table.split import by_content, by_group, by_time


def rule(name: str, kind: str, dtype: str = "") -> ColumnRule:
    return ColumnRule(name, kind, dtype, True, "", "", None, None, None)


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


def test_booleans_are_false_and_true_and_may_be_missing():
    new = pd.array([True, None, False], dtype="boolean")
    raw = table(3).assign(new=new, old=[False, True, True])
    features = [rule("new", "category", "bool"), rule("old", "category", "bool")]
    found = prepare(raw, features, rule("old", "category", "bool"))
    assert found["new"].tolist() == ["true", "missing", "false"]
    assert found["old"].tolist() == ["false", "true", "true"]


def test_whole_numbers_are_numbers_as_features_and_text_as_classes():
    raw = table(3).assign(count=pd.array([1, None, 3], dtype="Int64"), grade=[1, 2, 3])
    found = prepare(raw, [rule("count", "number", "Int64")], rule("grade", "category", "int64"))
    assert found["count"].dtype == np.float32
    assert found["count"].isna().tolist() == [False, True, False]
    assert found["grade"].tolist() == ["1", "2", "3"]


def test_weights_are_carried_and_are_no_feature():
    raw = table(40).assign(trust=2)
    found = prepare(raw, FEATURES, TARGET, "trust")
    assert weights(found).tolist() == [2.0] * 40
    assert "trust" not in found.columns
    assert weights(prepare(raw, FEATURES, TARGET)) is None
    with pytest.raises(DataError, match="size is the WEIGHT, so it cannot be in FEATURES"):
        prepare(raw, FEATURES, TARGET, "size")


@pytest.mark.parametrize("wrong", [0.0, -1.0, np.nan, np.inf, "heavy"])
def test_a_weight_that_is_none_is_refused(wrong):
    raw = table(3).assign(trust=[1.0, 1.0, wrong])
    with pytest.raises(DataError, match=r"column trust: WEIGHT .*positive, finite numbers"):
        prepare(raw, FEATURES, TARGET, "trust")


def test_weights_do_not_move_a_row_to_the_other_side():
    raw = table(200)
    plain = split(prepare(raw, FEATURES, TARGET), 0.25)[1]
    weighted = split(prepare(raw.assign(trust=range(1, 201)), FEATURES, TARGET, "trust"), 0.25)[1]
    pd.testing.assert_frame_equal(weighted[plain.columns], plain)


@pytest.mark.parametrize("unit", ["date", "number"])
def test_by_time_the_newest_rows_test(unit):
    when = np.random.default_rng(1).permutation(np.arange(400) // 2)
    times = pd.Timestamp("2024-01-01") + pd.to_timedelta(when, "D") if unit == "date" else when
    by = by_time("when")
    raw = table(400).assign(when=times, size=when)
    train, test = split(prepare(raw, FEATURES, TARGET, by=by), 0.25, by)
    assert (len(train), len(test)) == (300, 100)
    assert train["size"].is_monotonic_increasing
    assert train["size"].max() < test["size"].min()  # those of one time are on one side


def test_by_group_a_group_is_on_one_side_and_stays_there():
    by = by_group("customer")
    raw = table(2000).assign(customer=np.arange(2000) % 100)
    raw = raw.assign(size=raw["customer"])
    train, test = split(prepare(raw, FEATURES, TARGET, by=by), 0.25, by)
    assert 0.1 < len(test) / 2000 < 0.4
    assert not {*train["size"]} & {*test["size"]}
    more = raw.assign(customer=raw["customer"] + 100)
    grown = pd.concat([raw.sample(frac=1, random_state=1), more])
    later = split(prepare(grown, FEATURES, TARGET, by=by), 0.25, by)[1]
    assert {*test["size"]} == {*later.loc[later["__group__"].astype(int) < 100, "size"]}


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (by_time("colour"), r"column colour: SPLIT is by_time\(colour\), which needs a date or"),
        (by_time("gaps"), r"column gaps: SPLIT is by_time\(gaps\), but 1 rows have no value"),
        (by_group("gaps"), r"column gaps: SPLIT is by_group\(gaps\), but 1 rows have no value"),
        (by_group("price"), r"SPLIT is by_group\(price\), but that is the TARGET"),
    ],
)
def test_a_column_that_cannot_split_is_named(by, message):
    raw = table(40).assign(gaps=[None, *range(39)])
    with pytest.raises(DataError, match=message):
        prepare(raw, FEATURES, TARGET, by=by)


def test_a_split_with_an_empty_side_is_refused():
    by = by_group("customer")
    raw = prepare(table(200).assign(customer="one"), FEATURES, TARGET, by=by)
    with pytest.raises(DataError, match=r"the split by_group\(customer\) at 0.25 leaves"):
        split(raw, 0.25, by)
    by = by_time("day")
    raw = prepare(table(200).assign(day=1), FEATURES, TARGET, by=by)
    with pytest.raises(DataError, match="leaves 0 to train and 200 to test"):
        split(raw, 0.25, by)


def test_a_split_says_what_it_is():
    assert [str(by) for by in (by_content(), by_time("day"))] == ["by_content()", "by_time(day)"]


def test_a_fingerprint_of_parts_is_that_of_the_whole():
    whole = table(10)
    assert fingerprint(whole.head(4), whole.tail(6)) == fingerprint(whole)


def test_a_fingerprint_changes_with_content_and_names():
    first = table(10)
    assert fingerprint(first) == fingerprint(first.copy())
    assert fingerprint(first) != fingerprint(first.assign(size=0.0))
    assert fingerprint(first) != fingerprint(first.rename(columns={"size": "length"}))
