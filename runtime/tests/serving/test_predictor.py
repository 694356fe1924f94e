import math
import random

import numpy as np
import pytest

from modelloop.contract import served_model
from modelloop.contract.contract import Column, Contract, ContractError
from modelloop.serving.predictor import Predictor, Refusal
from modelloop.testing.example_model import NAMES, ROW, VALUE

MAX_ROWS = 50


@pytest.fixture(scope="module")
def predictor(project, model_dir):
    return Predictor.load(project, model_dir, MAX_ROWS)


@pytest.fixture(scope="module")
def number(contract):
    return first(contract, "number")


@pytest.fixture(scope="module")
def category(contract):
    return first(contract, "category")


@pytest.fixture(scope="module")
def predictor_where(project, model_dir, contract):
    """Make a predictor of the same model whose contract says something else of one feature."""
    model = served_model.load(project, model_dir, contract)

    def make(feature: Column, **says: object) -> Predictor:
        features = [
            column.model_copy(update=says) if column.name == feature.name else column
            for column in contract.features
        ]
        return Predictor(contract.model_copy(update={"features": features}), model, MAX_ROWS)

    return make


def first(contract: Contract, kind: str) -> Column:
    return next(c for c in contract.features if c.kind == kind and c.dtype != "bool")


def put(rows: list[list], names: list[str], feature: Column, value: object, row: int = 0):
    changed = [list(values) for values in rows]
    changed[row][names.index(feature.name)] = value
    return changed


def refusal(predictor: Predictor, names: list[str] | None, rows: list) -> Refusal:
    with pytest.raises(Refusal) as caught:
        predictor.predict(names, rows)
    return caught.value


def test_golden_rows_get_the_recorded_answers(predictor, contract, names, valid):
    expected = np.array([row.outputs for row in contract.golden])
    assert not served_model.differs(predictor.predict(names, valid).outputs, expected)


def test_without_names_the_contract_gives_the_order(predictor, names, valid):
    expected = predictor.predict(names, valid).outputs
    np.testing.assert_array_equal(predictor.predict(None, valid).outputs, expected)
    np.testing.assert_array_equal(predictor.predict([], valid).outputs, expected)


def test_columns_are_matched_by_name(predictor, names, valid):
    order = random.Random(1).sample(range(len(names)), len(names))
    shuffled = [[row[i] for i in order] for row in valid]
    answer = predictor.predict([names[i] for i in order], shuffled)
    np.testing.assert_array_equal(answer.outputs, predictor.predict(names, valid).outputs)


def test_the_label_is_the_most_probable_class(predictor, contract, names, valid):
    answer = predictor.predict(names, valid)
    expected = [contract.classes[i] for i in np.argmax(answer.outputs, axis=1)]
    assert answer.labels == expected


def test_a_regression_has_no_labels(project, example):
    answer = Predictor.load(project, example, MAX_ROWS).predict(NAMES, [ROW])
    assert answer.outputs.tolist() == [[VALUE]]
    assert answer.labels is None


def test_many_rows_get_the_answers_that_each_gets_alone(predictor, names, valid):
    many = (valid * MAX_ROWS)[:MAX_ROWS]
    together = predictor.predict(names, many).outputs
    alone = np.vstack([predictor.predict(names, [row]).outputs for row in many])
    assert not served_model.differs(together, alone)


def test_a_missing_name_is_refused(predictor, names, valid):
    refused = refusal(predictor, names[1:], [row[1:] for row in valid])
    assert (refused.status, refused.reason, refused.feature) == (422, "WRONG_NAMES", names[0])
    assert f"missing: {names[0]!r}" in str(refused)


def test_an_unknown_name_is_refused(predictor, names, valid):
    refused = refusal(predictor, [*names, "surprise"], [[*row, 1] for row in valid])
    assert (refused.status, refused.reason, refused.feature) == (422, "WRONG_NAMES", "surprise")
    assert f"The features are {names[0]!r}" in str(refused)


def test_a_name_given_twice_is_refused(predictor, names, valid):
    refused = refusal(predictor, [*names, names[0]], [[*row, row[0]] for row in valid])
    assert (refused.status, refused.reason) == (422, "WRONG_NAMES")
    assert f"given twice: {names[0]!r}" in str(refused)


def test_no_rows_are_refused(predictor, names):
    refused = refusal(predictor, names, [])
    assert (refused.status, refused.reason) == (422, "NO_ROWS")


def test_too_many_rows_are_refused_with_the_limit(predictor, names, valid):
    refused = refusal(predictor, names, valid[:1] * (MAX_ROWS + 1))
    assert (refused.status, refused.reason) == (413, "TOO_MANY_ROWS")
    assert str(MAX_ROWS) in str(refused)


@pytest.mark.parametrize("row", ["text", None, 1.5, {"a": 1}, True])
def test_a_row_that_is_no_list_is_refused(predictor, names, valid, row):
    refused = refusal(predictor, names, [valid[0], row])
    assert (refused.status, refused.reason, refused.row) == (422, "NOT_A_TABLE", 1)


def test_one_flat_row_is_refused(predictor, names, valid):
    refused = refusal(predictor, names, valid[0])
    assert (refused.status, refused.reason, refused.row) == (422, "NOT_A_TABLE", 0)


@pytest.mark.parametrize("width", ["empty", "short", "long"])
def test_a_row_of_another_width_is_refused(predictor, names, valid, width):
    row = {"empty": [], "short": valid[1][:-1], "long": [*valid[1], 1]}[width]
    refused = refusal(predictor, None, [valid[0], row])
    assert (refused.status, refused.reason, refused.row) == (422, "WRONG_WIDTH", 1)
    assert f"row 1 has {len(row)} values, not {len(names)}" in str(refused)


@pytest.mark.parametrize("value", ["3.1", "", "NaN", True, False, [1], {"a": 1}])
def test_only_a_number_is_a_number(predictor, names, valid, number, value):
    refused = refusal(predictor, names, put(valid, names, number, value, row=1))
    assert (refused.status, refused.reason) == (422, "NOT_A_NUMBER")
    assert (refused.row, refused.feature) == (1, number.name)
    assert f"row 1, {number.name}: " in str(refused)


def test_a_whole_number_is_a_number(predictor_where, names, valid, number):
    predictor = predictor_where(number, minimum=None, maximum=None)
    whole = predictor.predict(names, put(valid, names, number, 3)).outputs
    same = predictor.predict(names, put(valid, names, number, 3.0)).outputs
    np.testing.assert_array_equal(whole, same)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, float("1e400")])
def test_a_number_is_finite(predictor_where, names, valid, number, value):
    for limits in ({"minimum": None, "maximum": None}, {"minimum": 0.0, "maximum": 1e6}):
        predictor = predictor_where(number, nullable=True, **limits)
        refused = refusal(predictor, names, put(valid, names, number, value))
        assert (refused.status, refused.reason) == (422, "NOT_FINITE")
        assert (refused.row, refused.feature) == (0, number.name)


@pytest.mark.parametrize("value", [1e39, -1e39, 10**39, 10**400, -(10**400)])
def test_a_number_fits_into_float32(predictor_where, names, valid, number, value):
    for limits in ({"minimum": None, "maximum": None}, {"minimum": -1e300, "maximum": 1e300}):
        predictor = predictor_where(number, **limits)
        refused = refusal(predictor, names, put(valid, names, number, value))
        assert (refused.status, refused.reason) == (422, "OUT_OF_RANGE")


@pytest.mark.parametrize("value", [10, 20.5])
def test_the_limits_themselves_are_allowed(predictor_where, names, valid, number, value):
    predictor = predictor_where(number, minimum=10.0, maximum=20.5)
    answer = predictor.predict(names, put(valid[:1], names, number, value))
    assert np.isfinite(answer.outputs).all()


@pytest.mark.parametrize("value", [9.99, 20.51, -5, 1e38])
def test_a_number_outside_its_limits_is_refused_with_them(
    predictor_where, names, valid, number, value
):
    predictor = predictor_where(number, minimum=10.0, maximum=20.5, unit="mm", nullable=False)
    refused = refusal(predictor, names, put(valid[:1], names, number, value))
    assert (refused.status, refused.reason) == (422, "OUT_OF_RANGE")
    assert (refused.row, refused.feature) == (0, number.name)
    assert str(refused) == (
        f"row 0, {number.name}: {value!r} is refused; send a number from 10 to 20.5 mm"
    )


@pytest.mark.parametrize("value", [1, 2.5, True, ["x"], {"x": 1}])
def test_only_text_is_a_category(predictor, names, valid, category, value):
    refused = refusal(predictor, names, put(valid, names, category, value, row=1))
    assert (refused.status, refused.reason) == (422, "NOT_TEXT")
    assert (refused.row, refused.feature) == (1, category.name)


@pytest.mark.parametrize("value", ["surprise", "", served_model.MISSING, "\ud800"])
def test_an_unknown_category_is_refused_with_those_allowed(
    predictor_where, names, valid, category, value
):
    predictor = predictor_where(category, nullable=True, categories=["red", "light blue"])
    (known,) = put(valid[:1], names, category, "red")
    refused = refusal(predictor, names, put([known, known], names, category, value, row=1))
    assert (refused.status, refused.reason) == (422, "UNKNOWN_CATEGORY")
    assert (refused.row, refused.feature) == (1, category.name)
    assert str(refused).endswith("send one of 'red', 'light blue', or null")


@pytest.mark.parametrize("value", [served_model.MISSING, "half \ud800"])
def test_where_any_category_is_allowed_some_text_is_none(
    predictor_where, names, valid, category, value
):
    predictor = predictor_where(category, categories=None)
    refused = refusal(predictor, names, put(valid, names, category, value, row=1))
    assert (refused.status, refused.reason) == (422, "UNKNOWN_CATEGORY")
    assert (refused.row, refused.feature) == (1, category.name)
    assert "send text other than 'missing'" in str(refused)


def test_a_long_list_of_categories_is_cut(predictor_where, names, valid, category):
    many = [f"category {i}" for i in range(1000)]
    refused = refusal(
        predictor_where(category, categories=many), names, put(valid, names, category, "x" * 10_000)
    )
    assert "more" in str(refused)
    assert len(str(refused)) < 1000


def test_null_is_allowed_where_the_contract_says_so(predictor, contract, names, valid):
    for feature in contract.features:
        rows = put(valid, names, feature, None, row=1)
        if feature.nullable:
            assert np.isfinite(predictor.predict(names, rows).outputs).all()
        else:
            assert refusal(predictor, names, rows).reason == "MISSING_VALUE"


@pytest.mark.parametrize("kind", ["number", "category"])
def test_null_is_refused_elsewhere(predictor_where, contract, names, valid, kind):
    feature = first(contract, kind)
    known = [row for row in valid if row[names.index(feature.name)] is not None]
    rows = put(known, names, feature, None, row=1)
    refused = refusal(predictor_where(feature, nullable=False), names, rows)
    assert (refused.status, refused.reason) == (422, "MISSING_VALUE")
    assert (refused.row, refused.feature) == (1, feature.name)
    assert "null" in str(refused)


def test_a_model_that_answers_no_number_is_an_error(contract, names, valid):
    def broken(table: served_model.Table) -> np.ndarray:
        return np.full((len(valid), len(contract.output_names)), np.nan)

    with pytest.raises(FloatingPointError):
        Predictor(contract, broken, MAX_ROWS).predict(names, valid)


def test_a_folder_without_a_model_is_not_loaded(project, tmp_path):
    with pytest.raises(ContractError, match=r"contract\.json: cannot be read"):
        Predictor.load(project, tmp_path, MAX_ROWS)


def test_a_broken_model_file_is_not_loaded(project, contract, tmp_path):
    contract.write(tmp_path)
    (tmp_path / contract.served.file).write_bytes(b"not a model")
    with pytest.raises(ContractError, match=f"{contract.served.file}: the model cannot be run"):
        Predictor.load(project, tmp_path, MAX_ROWS)


def test_a_model_that_answers_otherwise_is_not_loaded(project, model_dir, contract, tmp_path):
    row = contract.golden[0]
    other = row.model_copy(update={"outputs": [1.01 * value + 0.01 for value in row.outputs]})
    golden = [other, *contract.golden[1:]]
    contract.model_copy(update={"golden": golden}).write(tmp_path)
    (tmp_path / contract.served.file).write_bytes((model_dir / contract.served.file).read_bytes())
    with pytest.raises(ContractError, match="golden row 0 "):
        Predictor.load(project, tmp_path, MAX_ROWS)
