import pandera.pandas as pa
import pytest

from modelloop.table.columns import DataError, column_rules, target_rule

SCHEMA = pa.DataFrameSchema(
    {
        "colour": pa.Column(str, pa.Check.isin(["red", "blue"]), description="Paint"),
        "size": pa.Column(float, pa.Check.in_range(0, 10), nullable=True, metadata={"unit": "m"}),
        "count": pa.Column(int, pa.Check.ge(0)),
        "when": pa.Column("datetime64[ns]"),
        "lag": pa.Column("timedelta64[ns]"),
        "new": pa.Column(bool, description="Never sold"),
        "sold": pa.Column("boolean", nullable=True),
        "gone": pa.Column(bool, nullable=True),
        "grade": pa.Column(int, pa.Check.isin([1, 2, 3])),
    }
)


def test_rules_carry_what_the_schema_says():
    colour, size, count = column_rules(SCHEMA, ["colour", "size", "count"])
    assert (colour.kind, colour.categories, colour.description) == (
        "category", ["red", "blue"], "Paint",
    )  # fmt: skip
    assert (size.kind, size.minimum, size.maximum, size.unit) == ("number", 0, 10, "m")
    assert size.nullable
    assert (count.kind, count.minimum, count.maximum, count.nullable) == ("number", 0, None, False)


def test_a_column_that_the_schema_does_not_know_is_named():
    with pytest.raises(DataError, match=r"model\.py names \['weight'\]"):
        column_rules(SCHEMA, ["colour", "weight"])


def test_a_boolean_is_a_category_of_false_and_true():
    new, sold = column_rules(SCHEMA, ["new", "sold"])
    assert (new.kind, new.dtype, new.categories) == ("category", "bool", ["false", "true"])
    assert (sold.kind, sold.dtype, sold.nullable) == ("category", "bool", True)
    assert not new.nullable


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("lag", "column lag has dtype timedelta64.*use str, int, float or bool"),
        ("when", r"column when is a date.* derive what counts in `load`.*by_time\('when'\)"),
        ("gone", 'column gone is nullable, which dtype bool cannot be; use "boolean"'),
    ],
)
def test_a_type_that_models_cannot_take_is_named_with_what_to_do(name, message):
    with pytest.raises(DataError, match=message):
        column_rules(SCHEMA, [name])


def test_classes_are_text_whatever_they_are_in_the_table():
    grade = target_rule(SCHEMA, "grade", "classification")
    assert (grade.kind, grade.dtype, grade.categories) == ("category", "int64", ["1", "2", "3"])
    assert target_rule(SCHEMA, "new", "classification").categories == ["false", "true"]
    with pytest.raises(DataError, match="target size has dtype float64; classes are str, int or"):
        target_rule(SCHEMA, "size", "classification")


def test_a_regression_needs_a_number():
    assert target_rule(SCHEMA, "grade", "regression").kind == "number"
    with pytest.raises(DataError, match="target colour has dtype str; use int or float"):
        target_rule(SCHEMA, "colour", "regression")
