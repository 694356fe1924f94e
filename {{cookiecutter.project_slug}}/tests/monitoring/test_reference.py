import numpy as np
import pandas as pd
import pytest

from {{ cookiecutter.package_name }}.columns import ColumnRule
from {{ cookiecutter.package_name }}.monitoring import reference


def rule(kind: str, categories: list[str] | None = None) -> ColumnRule:
    return ColumnRule("x", kind, "float64", True, "text", "mm", 0.0, 99.0, categories)


def test_ten_quantile_bins_hold_a_tenth_each():
    found = reference.number_reference(pd.Series(np.arange(1000.0)))
    assert len(found.edges) == 9
    assert found.shares == pytest.approx([0.1] * 10 + [0.0, 0.0], abs=1e-3)


def test_missing_numbers_have_a_bin_of_their_own():
    found = reference.number_reference(pd.Series([1.0, 2.0, np.nan, np.nan] * 1000))
    missing = dict(zip(found.bins, found.shares, strict=True))["missing"]
    assert missing == pytest.approx(0.5, abs=1e-3)


def test_no_share_is_0_and_together_they_are_1():
    found = reference.category_reference(pd.Series(["a", "a"]), ["a", "b"])
    assert found.shares == pytest.approx([2.5 / 4, 0.5 / 4, 0.5 / 4, 0.5 / 4])


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    found = reference.number_reference(pd.Series([0.0, 0.0, 0.0, 1.0] * 1000))
    assert found.edges[0] == 0.0
    assert found.shares[:2] == pytest.approx([0.0, 0.75], abs=1e-3)


def test_a_column_without_any_value_is_described():
    found = reference.profile(rule("number"), pd.Series([np.nan, np.nan], dtype="float32"))
    assert found.observed is None
    assert found.missing == 1.0
    assert found.reference.shares == pytest.approx([0.5 / 3.5, 0.5 / 3.5, 2.5 / 3.5])


def test_categories_count_other_and_missing_apart():
    values = pd.Series(["a", "a", "b", "z", "missing"] * 1000)
    found = reference.category_reference(values, ["a", "b", "c"])
    assert found.bins == ["a", "b", "c", "other", "missing"]
    assert found.shares == pytest.approx([0.4, 0.2, 0.0, 0.2, 0.2], abs=1e-3)


def test_of_many_categories_the_most_frequent_have_a_bin():
    names = [f"c{i:03}" for i in range(200)]
    values = pd.Series([name for i, name in enumerate(names) for _ in range(i + 1)])
    found = reference.category_reference(values, names)
    assert set(found.categories) == set(names[-reference.MOST_CATEGORIES :])
    rare = sum(range(1, 201 - reference.MOST_CATEGORIES)) / len(values)
    assert found.shares[-2] == pytest.approx(rare, abs=1e-3)


def test_a_bin_of_a_category_never_has_the_name_of_another_bin():
    names = ["other", "=other", "missing", "a"]
    found = reference.category_reference(pd.Series(names), names)
    assert len(set(found.bins)) == len(found.bins)
    assert found.bins[-2:] == ["other", "missing"]


def test_a_category_column_without_limits_has_bins_for_what_training_saw():
    found = reference.profile(rule("category"), pd.Series(["b", "a", "missing"]))
    assert found.categories is None
    assert found.reference.categories == ["a", "b"]
    assert found.missing == pytest.approx(1 / 3)


def test_numbers_are_kept_as_short_as_a_float32_allows():
    found = reference.profile(rule("number"), pd.Series([38.8, 41.1], dtype="float32"))
    assert found.observed == (38.8, 41.1)


def test_predictions_are_counted_by_class_or_by_value():
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    shares = reference.prediction_reference(outputs, ["a", "b"]).shares
    assert shares[:2] == pytest.approx([1.5 / 6, 3.5 / 6])
    assert reference.prediction_reference(outputs[:, :1], []).edges is not None


def test_one_training_row_in_a_hundred_is_an_outlier():
    random = np.random.default_rng(0)
    covariance = [[1.0, 0.8], [0.8, 4.0]]
    values = random.multivariate_normal([5, -3], covariance, 20_000)
    table = pd.DataFrame(values, columns=["a", "b"])
    found = reference.outlier_detector(table, ["a", "b"])
    centred = table.to_numpy() - found.mean
    distance = np.einsum("ni,ij,nj->n", centred, np.array(found.precision), centred)
    assert (distance > found.threshold).sum() == 200
    assert found.share == pytest.approx(0.01, abs=1e-4)
    # A missing number is nothing unusual.
    rare = table.assign(a=table["a"].where(random.random(20_000) < 0.9))
    assert reference.outlier_detector(rare, ["a", "b"]).share == pytest.approx(0.01, abs=1e-4)


def test_no_numbers_no_detector():
    assert reference.outlier_detector(pd.DataFrame({"a": ["x"]}), []) is None
