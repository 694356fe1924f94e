import math

import numpy as np
import pandas as pd
import pytest

from modelloop.table import bins
from modelloop.table.columns import ColumnRule


def rule(kind: str, categories: list[str] | None = None) -> ColumnRule:
    return ColumnRule("x", kind, "float64", True, "text", "mm", 0.0, 99.0, categories)


def test_ten_quantile_bins_hold_a_tenth_each():
    found = bins.number_reference(pd.Series(np.arange(1000.0)))
    assert len(found.edges) == 9
    assert found.shares == pytest.approx([0.1] * 10 + [0.0, 0.0], abs=1e-3)


def test_missing_numbers_have_a_bin_of_their_own():
    found = bins.number_reference(pd.Series([1.0, 2.0, np.nan, np.nan] * 1000))
    missing = dict(zip(found.bins, found.shares, strict=True))["missing"]
    assert missing == pytest.approx(0.5, abs=1e-3)


def test_no_share_is_0_and_together_they_are_1():
    found = bins.category_reference(pd.Series(["a", "a"]), ["a", "b"])
    assert found.shares == pytest.approx([2.5 / 4, 0.5 / 4, 0.5 / 4, 0.5 / 4])


def test_a_value_on_an_edge_belongs_to_the_bin_above():
    found = bins.number_reference(pd.Series([0.0, 0.0, 0.0, 1.0] * 1000))
    assert found.edges[0] == 0.0
    assert found.shares[:2] == pytest.approx([0.0, 0.75], abs=1e-3)


def test_a_column_without_any_value_is_described():
    found = bins.profile(rule("number"), pd.Series([np.nan, np.nan], dtype="float32"))
    assert found.observed is None
    assert found.missing == 1.0
    assert found.reference.shares == pytest.approx([0.5 / 3.5, 0.5 / 3.5, 2.5 / 3.5])


def test_categories_count_other_and_missing_apart():
    values = pd.Series(["a", "a", "b", "z", "missing"] * 1000)
    found = bins.category_reference(values, ["a", "b", "c"])
    assert found.bins == ["a", "b", "c", "other", "missing"]
    assert found.shares == pytest.approx([0.4, 0.2, 0.0, 0.2, 0.2], abs=1e-3)


def test_of_many_categories_the_most_frequent_have_a_bin():
    names = [f"c{i:03}" for i in range(200)]
    values = pd.Series([name for i, name in enumerate(names) for _ in range(i + 1)])
    found = bins.category_reference(values, names)
    assert set(found.categories) == set(names[-bins.MOST_CATEGORIES :])
    rare = sum(range(1, 201 - bins.MOST_CATEGORIES)) / len(values)
    assert found.shares[-2] == pytest.approx(rare, abs=1e-3)


def test_a_bin_of_a_category_never_has_the_name_of_another_bin():
    names = ["other", "=other", "missing", "a"]
    found = bins.category_reference(pd.Series(names), names)
    assert len(set(found.bins)) == len(found.bins)
    assert found.bins[-2:] == ["other", "missing"]


def test_a_category_column_without_limits_has_bins_for_what_training_saw():
    found = bins.profile(rule("category"), pd.Series(["b", "a", "missing"]))
    assert found.categories is None
    assert found.reference.categories == ["a", "b"]
    assert found.missing == pytest.approx(1 / 3)


def test_numbers_are_kept_as_short_as_a_float32_allows():
    found = bins.profile(rule("number"), pd.Series([38.8, 41.1], dtype="float32"))
    assert found.observed == (38.8, 41.1)


def test_predictions_are_counted_by_class_or_by_value():
    outputs = np.array([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7], [0.4, 0.6]])
    shares = bins.prediction_reference(outputs, ["a", "b"]).shares
    assert shares[:2] == pytest.approx([1.5 / 6, 3.5 / 6])
    assert bins.prediction_reference(outputs[:, :1], []).edges is not None


def test_drift_is_measured_by_hand():
    counts, shares = np.array([60, 20, 20]), np.array([0.5, 0.3, 0.2])
    seen = (counts + 20 * shares) / 120  # drawn towards the shares by 20 rows
    expected = sum((p - q) * math.log(p / q) for p, q in zip(seen, shares, strict=True))
    assert bins.psi(counts, shares) == pytest.approx(expected)
    assert bins.psi(counts, 2 * shares) == pytest.approx(expected)  # they need not sum to 1


@pytest.mark.parametrize("counts", [[50, 30, 20], [0, 0, 0]])
def test_the_shares_of_training_and_no_rows_are_no_drift(counts):
    assert bins.psi(np.array(counts), np.array([0.5, 0.3, 0.2])) == pytest.approx(0)


def test_a_bin_that_stays_empty_is_a_finite_drift():
    assert 0.25 < bins.psi(np.array([1000, 0]), np.array([0.5, 0.5])) < 10
