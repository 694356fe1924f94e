import numpy as np
import pandas as pd
import pytest

from modelloop.newdata import profile
from modelloop.project import ProblemType
from modelloop.table.columns import DataError

ROWS = 400
RANDOM = np.random.default_rng(0)
TRUTH = RANDOM.choice(["stays", "leaves"], ROWS)
NUMBER = RANDOM.normal(size=ROWS)


def words(n: int) -> list[str]:
    return [f"value {i}" for i in RANDOM.permutation(n)]


def profile_of(name: str, values: object) -> profile.ColumnProfile:
    (column,) = profile.profile_table(pd.DataFrame({name: values}))
    return column


@pytest.mark.parametrize(
    ("name", "values", "role"),
    [
        ("size", NUMBER, "feature"),
        ("colour", ["red", "blue"] * (ROWS // 2), "feature"),
        ("many", words(100) * 4, "feature"),
        ("row", RANDOM.permutation(ROWS), "identifier"),
        ("customer_id", RANDOM.integers(0, 10**6, ROWS), "identifier"),
        ("customerId", RANDOM.integers(0, 10**6, ROWS), "identifier"),
        ("key", [f"k-{i:05}" for i in range(ROWS)], "identifier"),
        ("valid", RANDOM.integers(0, 10**6, ROWS), "feature"),
        ("source", ["shop"] * ROWS, "constant"),
        ("factor", [1.5, None] * (ROWS // 2), "constant"),
        ("nothing", [None] * ROWS, "constant"),
        ("day", pd.date_range("2024-01-01", periods=ROWS), "date"),
        ("day", pd.date_range("2024-01-01", periods=ROWS).strftime("%d.%m.%Y"), "date"),
        ("moment", pd.date_range("2024-01-01", periods=ROWS).strftime("%Y-%m-%dT%H:%M"), "date"),
        ("remark", [f"the customer said it was {i} times late" for i in range(ROWS)], "text"),
    ],
)
def test_a_column_gets_the_role_that_its_values_and_its_name_suggest(name, values, role):
    assert profile_of(name, values).role == role


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([1, 2, 3], "int"),
        ([1, 2, None], "float"),
        ([1.5, 2, 3], "float"),
        ([True, False, True], "bool"),
        ([True, None, False], "boolean"),
        (["a", "b", None], "str"),
        (pd.Categorical(["a", "b", "a"]), "str"),
        (pd.array([1, None, 3], dtype="Int64"), "float"),
    ],
)
def test_a_type_is_the_narrowest_that_holds_every_value(values, dtype):
    assert profile_of("x", values).dtype == dtype


def test_facts_are_counted():
    column = profile_of("x", [3, 1, None, 3])
    assert (column.missing, column.distinct, column.low, column.high) == (1, 2, 1, 3)
    assert profile_of("x", ["b", "a", "b", None]).categories == ("b", "a")


def test_text_that_is_mostly_numbers_is_pointed_out():
    assert "clean the others" in profile_of("x", ["1", "2", "3", "4", "5", "6", "?"] * 20).notes[0]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x": [1, "a"]}, r"'x': its values are of several types, such as 1, 'a'"),
        ({"x": [1.0, np.inf]}, "'x': infinite values"),
        ({"x": ["a", "missing"]}, "'x': the category 'missing' is reserved"),
        ({"x": [b"a", b"b"]}, "'x': values of type bytes"),
        ({0: [1, 2]}, "0: a column's name must be text"),
    ],
)
def test_a_table_that_no_schema_can_hold_is_refused(columns, message):
    with pytest.raises(DataError, match=message):
        profile.profile_table(pd.DataFrame(columns))


def test_two_columns_of_one_name_are_refused():
    with pytest.raises(DataError, match="'x': two columns have this name"):
        profile.profile_table(pd.DataFrame([[1, 2]], columns=["x", "x"]))


def test_columns_that_are_not_separated_by_commas_are_refused():
    with pytest.raises(DataError, match=r"is its only column; .* pd\.read_csv\(uri, sep=';'\)"):
        profile.profile_table(pd.DataFrame({"size;price": ["1;2", "3;4"]}))


def table() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "size": NUMBER,
            "colour": RANDOM.choice(["red", "blue", "green"], ROWS),
            "price": NUMBER * 3 + RANDOM.normal(size=ROWS),
            "day": pd.date_range("2024-01-01", periods=ROWS),
            "truth": TRUTH,
        }
    )


def assigned(
    rows: pd.DataFrame, target: str, problem_type: ProblemType, keep: tuple[str, ...] = ()
) -> dict[str, profile.ColumnProfile]:
    profiles = profile.profile_table(rows)
    columns = profile.assign_roles(rows, profiles, target, problem_type, [*keep])
    return {column.name: column for column in columns}


def test_columns_that_tell_the_target_almost_alone_are_leaks():
    state = pd.Series(TRUTH).map({"stays": "active", "leaves": "closed"})
    state[:3] = "unknown"
    rows = table()
    rows = rows.assign(state=state, cents=rows["price"] * 100 + 3)
    columns = assigned(rows, "truth", "classification")
    assert {name: column.role for name, column in columns.items()} == {
        "size": "feature", "colour": "feature", "price": "feature", "day": "date",
        "truth": "target", "state": "leak", "cents": "feature",
    }  # fmt: skip
    assert "tells the target almost alone" in columns["state"].notes[-1]
    assert assigned(rows, "price", "regression")["cents"].role == "leak"
    assert assigned(rows, "price", "regression")["size"].role == "feature"


def test_a_missing_value_can_be_the_leak():
    left = np.where(TRUTH == "leaves", NUMBER, np.nan)
    assert assigned(table().assign(left=left), "truth", "classification")["left"].role == "leak"


def test_what_a_person_keeps_is_a_feature():
    rows = table().assign(state=TRUTH, key=[f"k{i}" for i in range(ROWS)])
    columns = assigned(rows, "truth", "classification", ("state", "key"))
    assert (columns["state"].role, columns["key"].role) == ("feature", "feature")
    assert "tells the target almost alone" in columns["state"].notes[-1]


def test_columns_that_say_the_same_are_pointed_out():
    rows = table()
    rows = rows.assign(farbe=rows["colour"].map(str.upper), inches=rows["size"] / 2.54)
    columns = assigned(rows, "truth", "classification")
    assert columns["farbe"].notes == ("says the same as 'colour'",)
    assert columns["inches"].notes == ("says the same as 'size'",)
    assert (columns["size"].notes, columns["colour"].notes) == ((), ())


def test_a_class_of_few_rows_and_rows_without_a_target_are_pointed_out():
    rows = table()
    rows.loc[:2, "truth"] = "other"
    rows.loc[3:9, "truth"] = None
    notes = assigned(rows, "truth", "classification")["truth"].notes
    assert "few rows to learn and to judge by: 'other' 3" in notes
    assert "7 rows without it are not used" in notes


def test_a_number_can_name_classes():
    columns = assigned(table().assign(truth=RANDOM.integers(0, 3, ROWS)), "truth", "classification")
    assert (columns["truth"].kind, columns["truth"].dtype) == ("category", "str")
    assert {*columns["truth"].categories} == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("target", "problem_type", "message"),
    [
        ("weight", "regression", r"the table has no column 'weight', but 'size', 'colour', "),
        ("colour", "regression", "'colour' cannot be the target: it is not a number; a regression"),
        ("price", "classification", "it has 400 different values; a classification needs 2 to 50"),
        ("day", "classification", "it looks like this: date"),
    ],
)
def test_a_target_that_does_not_fit_is_refused(target, problem_type, message):
    with pytest.raises(DataError, match=message):
        assigned(table(), target, problem_type)


def test_a_date_cannot_be_kept_as_a_feature():
    with pytest.raises(DataError, match="column 'day' is a date: no model can learn from it"):
        assigned(table(), "truth", "classification", ("day",))


@pytest.mark.parametrize(
    ("problem_type", "renamed", "target"),
    [
        ("classification", {}, "truth"),
        ("classification", {"colour": "Label"}, "Label"),
        ("regression", {}, "price"),
        ("regression", {"size": "target"}, "target"),
    ],
)
def test_the_likely_target_is_proposed(problem_type, renamed, target):
    targets = profile.possible_targets(
        profile.profile_table(table().rename(columns=renamed)), problem_type
    )
    assert targets[0] == target
    assert len({*targets}) == len(targets) > 1


def test_no_target_is_proposed_where_none_fits():
    with pytest.raises(DataError, match=r"no column can be the target: .*\n  'size': it has 400 "):
        profile.possible_targets(
            profile.profile_table(table()[["size", "price"]]), "classification"
        )


@pytest.mark.parametrize(("width", "rows"), [(10, 5_000), (100, 2_500), (500, 1_000)])
def test_a_wide_table_is_sampled_more_thinly(width, rows):
    sample = profile.sample(pd.Series(RANDOM.normal(size=20_000)), "regression", width)
    assert len(sample) == rows == profile.sample_size(width)
    assert sample.index.is_monotonic_increasing


def test_a_sample_has_rows_of_a_rare_class():
    target = pd.Series(["often"] * 100_000)
    target[:60], target[60:67] = "rare", "rarer"
    counts = profile.sample(target, "classification", 10).value_counts()
    assert (counts["rarer"], counts["rare"] >= 50) == (7, True)
    assert counts.sum() < 5_200


def test_what_is_hardly_ever_there_and_what_comes_again_is_pointed_out():
    hardly = np.where(np.arange(ROWS) < 4, NUMBER, np.nan)
    assert profile_of("speed", hardly).notes == ("missing in 99.0% of the rows",)
    assert "SPLIT by_group" in profile_of("customer_id", [*range(200)] * 2).notes[-1]
    assert profile_of("customer_id", RANDOM.permutation(ROWS) * 3).notes == ()
