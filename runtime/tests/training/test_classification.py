import math

import numpy as np
import pytest

from modelloop.table.columns import DataError
from modelloop.training import classification

TRUTH = np.array(["a", "a", "a", "b"])
OUTPUTS = np.array([[0.9, 0.1], [0.8, 0.2], [0.4, 0.6], [0.3, 0.7]])


def test_scores_of_a_small_table_by_hand():
    scores = classification.score(TRUTH, OUTPUTS, ["a", "b"])
    assert scores["accuracy"] == 3 / 4
    assert scores["balanced_accuracy"] == pytest.approx((2 / 3 + 1) / 2)
    assert scores["f1_macro"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert scores["roc_auc"] == 1.0
    expected = -(math.log(0.9) + math.log(0.8) + math.log(0.4) + math.log(0.7)) / 4
    assert scores["log_loss"] == pytest.approx(expected)


def test_a_score_that_needs_both_classes_is_not_a_number_without_them():
    scores = classification.score(TRUTH[:3], OUTPUTS[:3], ["a", "b"])
    assert math.isnan(scores["roc_auc"])
    assert scores["accuracy"] == 2 / 3


def test_three_classes_are_scored():
    truth = np.array(["a", "b", "c"])
    scores = classification.score(truth, np.eye(3) * 0.7 + 0.1, ["a", "b", "c"])
    assert scores["accuracy"] == 1.0
    assert scores["roc_auc"] == 1.0


def test_a_class_that_the_model_does_not_know_is_always_wrong():
    truth = np.array(["a", "b", "aa", "b"])
    scores = classification.score(truth, OUTPUTS, ["a", "b"])
    assert scores["accuracy"] == 2 / 4
    assert scores["balanced_accuracy"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert scores["log_loss"] > 5
    assert math.isfinite(scores["roc_auc"])


def test_a_row_of_weight_2_counts_as_two_rows():
    twice = np.array([0, 1, 1, 2, 3, 3])
    scores = classification.score(TRUTH, OUTPUTS, ["a", "b"], np.array([1.0, 2.0, 1.0, 2.0]))
    assert scores == pytest.approx(classification.score(TRUTH[twice], OUTPUTS[twice], ["a", "b"]))


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ("aaaaabbbbbccccc", "ab", "the class 'c' has 5 rows to train and 0 to test"),
        ("aaaaabbbbbcccc", "abc", "the class 'c' has 4 rows to train and 1 to test, at least 5"),
        ("aaaaabbbbb", "abc", "the class 'c' has 0 rows to train and 1 to test"),
        ("aaaaa", "a", "the only class is 'a'"),
    ],
)
def test_a_class_that_is_too_rare_is_named(train, test, message):
    classification.check_sides(np.array([*"aaaaabbbbb"]), np.array([*"ab"]), "kind")
    with pytest.raises(DataError, match=f"column kind: {message}"):
        classification.check_sides(np.array([*train]), np.array([*test]), "kind")


def test_every_score_has_a_direction():
    assert (
        classification.score(TRUTH, OUTPUTS, ["a", "b"]).keys()
        == classification.HIGHER_IS_BETTER.keys()
    )


def test_the_confusion_matrix_counts_every_row():
    (axes,) = classification.figures(TRUTH, OUTPUTS, ["a", "b"])["confusion_matrix"].axes
    assert [text.get_text() for text in axes.texts] == ["2", "1", "0", "1"]
