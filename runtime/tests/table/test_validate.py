import pandas as pd
import pandera.pandas as pa
import pytest

from modelloop.table.columns import DataError
from modelloop.table.validate import check_duplicates, validate

SCHEMA = pa.DataFrameSchema(
    {
        "colour": pa.Column(str, pa.Check.isin(["red", "blue"])),
        "size": pa.Column(float, pa.Check.in_range(0, 10), nullable=True),
        "count": pa.Column(int, pa.Check.ge(0)),
    },
    strict="filter",
    coerce=True,
)
VALID = {"colour": ["red", "blue"], "size": [1.5, None], "count": [1, 2]}


def table(**changes) -> pd.DataFrame:
    return pd.DataFrame(VALID | changes)


def test_valid_rows_pass_and_other_columns_go():
    found = validate(table(other=[1, 2]), SCHEMA)
    assert list(found.columns) == ["colour", "size", "count"]
    assert len(found) == 2


@pytest.mark.parametrize(
    ("changes", "column", "rule", "example"),
    [
        ({"colour": ["red", "green"]}, "colour", "isin", "green"),
        ({"colour": ["red", None]}, "colour", "not_nullable", "NaN"),
        ({"size": [1.5, 99.0]}, "size", "in_range", "99.0"),
        ({"count": [1, -2]}, "count", "greater_than_or_equal_to", "-2"),
        ({"size": ["1.5", "tall"]}, "size", "coerce_dtype('float64')", "tall"),
    ],
)
def test_a_broken_row_is_named_with_column_rule_and_example(changes, column, rule, example):
    with pytest.raises(DataError) as error:
        validate(table(**changes), SCHEMA)
    message = str(error.value)
    assert f"column {column}: breaks {rule}" in message
    assert example in message


@pytest.mark.parametrize(
    ("dtype", "values", "message"),
    [
        ("int64", [1.5, 2.0], r"1 rows are not a whole number, for example \[1\.5\]"),
        ("bool", ["true", "no"], r"not true, false, 1 or 0, for example \['true', 'no'\]"),
        ("bool", [True, None], "1 rows are not true, false, 1 or 0, for"),
        ("bool", [1.0, 2.0], r"example \[2\.0\]"),
        ("boolean", [True, "x"], "not true, false, 1 or 0, or missing"),
    ],
)
def test_what_pandas_would_quietly_change_is_refused(dtype, values, message):
    schema = pa.DataFrameSchema({"x": pa.Column(dtype)}, coerce=True)
    with pytest.raises(DataError, match=message):
        validate(pd.DataFrame({"x": values}), schema)


@pytest.mark.parametrize(
    ("dtype", "values"),
    [
        ("int64", [1.0, 2.0]),
        ("Int64", [1.0, None]),
        ("bool", [1, 0]),
        ("bool", [True, False]),
        ("boolean", [True, None]),
        ("boolean", [1.0, None]),
    ],
)
def test_what_means_the_same_is_taken(dtype, values):
    schema = pa.DataFrameSchema({"x": pa.Column(dtype, nullable=True)}, coerce=True)
    found = validate(pd.DataFrame({"x": values}), schema)["x"]
    assert str(found.dtype) == dtype
    assert found.isna().tolist() == [value is None for value in values]


def test_every_fault_is_named_at_once():
    with pytest.raises(DataError) as error:
        validate(table(colour=["red", "green"], count=[1, -2]), SCHEMA)
    assert "column colour" in str(error.value)
    assert "column count" in str(error.value)


def test_a_missing_column_is_named():
    with pytest.raises(DataError, match="column count: not in the table, which has"):
        validate(table().drop(columns="count"), SCHEMA)


def test_rows_that_repeat_others_are_refused_beyond_their_share():
    colours, sizes = ["red", "blue", None, "red", None], [1.5, 2, None, 1.5, None]
    rows = pd.DataFrame({"colour": colours, "size": sizes})
    check_duplicates(rows, 0.4)
    check_duplicates(rows.head(3), 0.0)
    message = r"2 of 5 rows \(40\.0%\) repeat an earlier one, DUPLICATES in data\.py allows 39\.0%"
    with pytest.raises(DataError, match=message) as error:
        check_duplicates(rows, 0.39)
    assert "red" in str(error.value)
    assert "blue" not in str(error.value)
