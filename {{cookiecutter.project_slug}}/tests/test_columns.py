import pandera.pandas as pa
import pytest

from {{ cookiecutter.package_name }}.columns import DataError, column_rules

SCHEMA = pa.DataFrameSchema(
    {
        "colour": pa.Column(str, pa.Check.isin(["red", "blue"]), description="Paint"),
        "size": pa.Column(float, pa.Check.in_range(0, 10), nullable=True, metadata={"unit": "m"}),
        "count": pa.Column(int, pa.Check.ge(0)),
        "when": pa.Column("datetime64[ns]"),
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


def test_a_type_that_models_cannot_take_is_named():
    with pytest.raises(DataError, match="column when has dtype datetime64"):
        column_rules(SCHEMA, ["when"])
