import math

import numpy as np
import pytest

from modelloop.table.columns import DataError
from modelloop.training import regression

TRUTH = np.array([1.0, 2.0, 3.0, 6.0])
OUTPUTS = np.array([[1.0], [2.0], [5.0], [4.0]])


def test_scores_of_a_small_table_by_hand():
    scores = regression.score(TRUTH, OUTPUTS, [])
    assert scores["rmse"] == pytest.approx(math.sqrt(8 / 4))
    assert scores["mae"] == 1.0
    assert scores["r2"] == pytest.approx(1 - 8 / 14)


def test_a_score_that_needs_two_rows_is_not_a_number_with_one():
    assert math.isnan(regression.score(TRUTH[:1], OUTPUTS[:1], [])["r2"])


def test_a_row_of_weight_2_counts_as_two_rows():
    twice = np.array([0, 1, 1, 2, 3, 3])
    scores = regression.score(TRUTH, OUTPUTS, [], np.array([1.0, 2.0, 1.0, 2.0]))
    assert scores == pytest.approx(regression.score(TRUTH[twice], OUTPUTS[twice], []))


def test_a_target_that_is_always_the_same_is_refused():
    regression.check_sides(TRUTH, TRUTH, "price")
    with pytest.raises(DataError, match="column price: every row to test has the value 2: there"):
        regression.check_sides(TRUTH, np.array([2.0, 2.0]), "price")


def test_every_score_has_a_direction():
    assert regression.score(TRUTH, OUTPUTS, []).keys() == regression.HIGHER_IS_BETTER.keys()


def test_the_residuals_are_truth_minus_prediction():
    (axes,) = regression.figures(TRUTH, OUTPUTS, [])["residuals"].axes
    points = axes.collections[0].get_offsets().data.tolist()
    assert points == [[1.0, 0.0], [2.0, 0.0], [5.0, -2.0], [4.0, 2.0]]
